// The smallest thing that several components can watch: a value and its listeners.
import { useEffect, useState } from './html.js';

/** @template T @param {T} value */
export function watched(value) {
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      if (next === value) return;
      value = next;
      for (const listener of [...listeners]) listener(value);
    },
    listen(listener) {
      listeners.add(listener);
      return () => { listeners.delete(listener); };
    },
  };
}

/** Re-renders the component whenever the watched value changes. */
export function useWatched(source) {
  const [value, setValue] = useState(source.get());
  useEffect(() => {
    setValue(source.get());
    return source.listen(setValue);
  }, [source]);
  return value;
}

export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(`xiezhi.${key}`);
    else localStorage.setItem(`xiezhi.${key}`, value);
  } catch (refused) { /* storage is off: the choice lasts as long as the page */ }
}
