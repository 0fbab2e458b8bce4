// The hooks' types, but for one thing: a state that begins empty says nothing about what it will hold
// (an error, an element, rows), and saying so at each would be noise; it may hold anything.
export * from 'preact/hooks';

type Later<V> = [V] extends [null | undefined] ? any : [V] extends [never[]] ? any[] : V;
type Filled<S> = [S] extends [null | undefined] ? any : [S] extends [never[]] ? any[]
  : S extends (...given: any[]) => any ? S
  : S extends object ? { [K in keyof S]: Later<S[K]> } : S;

export function useState<S>(initial: S | (() => S)): [Filled<S>, (next: Filled<S> | ((old: Filled<S>) => Filled<S>)) => void];
export function useRef(initial: null): { current: any };
export function useRef<T>(initial: T): { current: T };
