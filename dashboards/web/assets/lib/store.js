// The smallest thing that several components can watch: a value and its listeners.
import { useEffect, useState } from './html.js';

/**
 * @template T
 * @typedef {object} Watched
 * @property {() => T} get
 * @property {(next: T) => void} set
 * @property {(listener: (value: T) => void) => () => void} listen answers with how to stop listening
 */

/** @template T @param {T} value @returns {Watched<T>} */
export function watched(value) {
  /** @type {Set<(value: T) => void>} */
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

/**
 * Re-renders the component whenever the watched value changes.
 * @template T @param {Watched<T>} source
 */
export function useWatched(source) {
  const [value, setValue] = useState(/** @type {any} */ (source.get()));
  useEffect(() => {
    setValue(source.get());
    return source.listen(setValue);
  }, [source]);
  return /** @type {T} */ (value);
}

/** @param {string} key @param {string|null} value null forgets it */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(`xiezhi.${key}`);
    else localStorage.setItem(`xiezhi.${key}`, value);
  } catch (refused) { /* storage is off: the choice lasts as long as the page */ }
}
