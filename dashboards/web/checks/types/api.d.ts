// What each address answers and takes, out of the interface's description (docs/openapi.json), so that
// a page that reads a field which nothing sends does not pass.
import type { components, paths } from '../generated/openapi';

/** `/hosts/{id}/facts` as a list of what may stand between its slashes. */
type Steps<P extends string> = P extends `${infer First}/${infer Rest}` ? [Step<First>, ...Steps<Rest>] : [Step<P>];
type Step<S extends string> = S extends `{${string}}` ? string : string extends S ? string : S;

/** The described paths that an address may be written for: the very text, or else what fits step by step. */
type Described<P extends string> = `/api/v1${P}` extends keyof paths ? `/api/v1${P}` : {
  [K in keyof paths]: Steps<`/api/v1${P}`> extends Steps<K> ? K : never;
}[keyof paths];

type Operation<M extends string, P extends string> = Described<P> extends infer K
  ? K extends keyof paths ? Lowercase<M> extends keyof paths[K] ? NonNullable<paths[K][Lowercase<M>]> : never : never
  : never;

type Content<R> = R extends { content: { 'application/json': infer Body } } ? Body : null;
type Success<O> = O extends { responses: infer R } ? Content<R[Extract<keyof R, 200 | 201 | 202 | 204>]> : never;
type Taken<O> = O extends { requestBody: { content: { 'application/json': infer Body } } } ? Body : Record<string, never>;

declare global {
  namespace Api {
    /** A row or an answer by its name in the description. */
    type Shape<Name extends keyof components['schemas']> = components['schemas'][Name];
    /** What a request is answered with. */
    type Answer<M extends string, P extends string> = Success<Operation<M, P>>;
    /** What a request must bring. */
    type Body<M extends string, P extends string> = Taken<Operation<M, P>>;
    /** An address that answers with `T` when it is got. */
    type Address<T> = string & { readonly answers?: T };
    type Value = string | number | boolean | null | undefined;
    /** Empty ones are left out of the address. */
    type Query = Record<string, Value | Value[]>;
    /** problem+json; what a proxy said in its place has none of these. */
    type Problem = Partial<components['schemas']['Problem']>;
    /** What lives at an address, kept up to date. */
    interface Resource<T> {
      /** What came last; null until something came. */
      data: T | null;
      error: import('../../assets/lib/api.js').ApiError | null;
      loading: boolean;
      /** When `data` came, in milliseconds; 0 before. */
      at: number;
      /** Whether `data` are of the address that is asked for now. */
      fresh: boolean;
      reload: () => void;
    }
  }
}
