// Requests to the controller. Errors are problem+json (RFC 9457) and become one Error type whose
// message a person can read.
import { useEffect, useReducer, useRef } from './html.js';
import { navigate, currentRoute } from './router.js';
import { t, known } from './i18n.js';
import { sinceLast } from './idle.js';

const BASE = '/api/v1';

/**
 * The problem in the reader's language; what the controller said if the code is not known.
 * @param {Api.Problem} problem
 */
function told({ code, detail }) {
  const key = `problem.${code}`;
  return known(key) ? t(key, { s: (/\d+/.exec(detail || '') || ['?'])[0] }) : '';
}

export class ApiError extends Error {
  /** @param {number} status 0 when nothing answered @param {Api.Problem} problem */
  constructor(status, problem) {
    super(told(problem) || problem.detail || problem.title || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

/**
 * `params` values may be lists; empty ones are left out.
 * @template {string} P
 * @param {P} path
 * @param {Api.Query} [params]
 * @returns {Api.Address<Api.Answer<'GET', P>>}
 */
export function url(path, params = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    if (Array.isArray(value)) value.forEach((one) => query.append(key, String(one)));
    else if (value !== null && value !== undefined && value !== '') query.set(key, String(value));
  }
  const text = query.toString();
  return BASE + path + (text ? `?${text}` : '');
}

/** Whether this page was answered as somebody who is signed in: then who is not any more is told so. */
let inside = false;

/** How often something was changed from here: who keeps what was read may have to read it again. */
let written = 0;
export const changesMade = () => written;

/**
 * The answer as it comes; refusals are thrown.
 * @param {string} method
 * @param {string} address
 * @param {unknown} [body] a file goes as it is, anything else as JSON
 * @param {AbortSignal} [signal]
 * @returns {Promise<Response>}
 */
export async function ask(method, address, body, signal) {
  /** @type {Record<string, string>} */
  const headers = { accept: 'application/json' };
  const person = sinceLast();
  // Whatever is written, a person writes.
  if (method === 'GET') Object.assign(headers, person.headers);
  else headers['x-xiezhi-request'] = '1';
  const file = body instanceof Blob ? body : null;
  if (body !== undefined) headers['content-type'] = file ? 'application/octet-stream' : 'application/json';
  let response;
  try {
    response = await fetch(address, {
      method, headers, signal, credentials: 'same-origin', cache: 'no-store',
      body: file || (body === undefined ? undefined : JSON.stringify(body)),
    });
  } catch (cause) {
    if (cause.name === 'AbortError') throw cause;
    throw new ApiError(0, { title: t('state.offline') });
  }
  if (response.ok) {
    person.answered();
    inside = !address.startsWith(`${BASE}/login`) && !address.startsWith(`${BASE}/logout`);
    if (method !== 'GET') written += 1;
    return response;
  }
  /** @type {Api.Problem} */
  let problem = {};
  try { problem = await response.json(); } catch (notJson) { problem = { title: `HTTP ${response.status}` }; }
  // Words for what seldom happens; without them it is said in the controller's own.
  if (problem.code && !known(`problem.${problem.code}`)) await import('./problems.js').catch(() => {});
  if (response.status === 401 && !address.startsWith(`${BASE}/login`)) toLogin();
  throw new ApiError(response.status, problem);
}

/**
 * @param {string} method
 * @param {string} address
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>} null where there is nothing to say
 */
export async function request(method, address, body, signal) {
  const response = await ask(method, address, body, signal);
  return response.status === 204 ? null : response.json();
}

/** @template {string} P @param {P} path @param {Api.Query} [params] @param {AbortSignal} [signal] @returns {Promise<Api.Answer<'GET', P>>} */
export const get = (path, params, signal) => request('GET', url(path, params), undefined, signal);
/**
 * @template {'POST'|'PUT'|'DELETE'} M
 * @template {string} P
 * @param {M} method
 * @param {P} path
 * @param {Api.Body<M, P>} [body]
 * @returns {Promise<Api.Answer<M, P>>}
 */
export const send = (method, path, body) => request(method, url(path), body);
/**
 * Sends a file as it is.
 * @template {string} P
 * @param {P} path @param {Api.Query} params @param {File} file
 * @returns {Promise<Api.Answer<'POST', P>>}
 */
export const upload = (path, params, file) => request('POST', url(path, params), file);

function toLogin() {
  const { path, query } = currentRoute();
  if (path === '/login') return;
  const text = query.toString();
  const next = path + (text ? `?${text}` : '');
  const after = new URLSearchParams();
  if (inside) after.set('ended', '1');
  if (next !== '/') after.set('next', next);
  inside = false;
  navigate(`/login${String(after) ? `?${after}` : ''}`, { replace: true });
}

/** @type {{ data: any, error: ApiError|null, loading: boolean, at: number, address: string|null }} */
const EMPTY = { data: null, error: null, loading: true, at: 0, address: null };
/** @param {typeof EMPTY} old @param {Partial<typeof EMPTY>} next */
const merged = (old, next) => ({ ...old, ...next });

/**
 * What lives at an address, kept up to date. When an update fails, the old data stay and `error`
 * says so: a page never goes blank because the controller was busy.
 * @template T
 * @param {Api.Address<T>|null} address null while it is not known yet
 * @param {number} every milliseconds between updates; 0 for none
 * @returns {Api.Resource<T>}
 */
export function useResource(address, every = 0) {
  const [state, change] = useReducer(merged, EMPTY);
  const load = useRef(() => {});
  useEffect(() => {
    if (!address) return undefined;
    let timer = 0;
    /** @type {AbortController|null} */
    let controller = null;
    let ended = false;
    const run = async () => {
      clearTimeout(timer);
      if (controller) controller.abort();
      const mine = new AbortController();
      controller = mine;
      try {
        const data = await request('GET', address, undefined, mine.signal);
        if (!ended) change({ data, error: null, loading: false, at: Date.now(), address });
      } catch (error) {
        if (error.name === 'AbortError') return;
        if (!ended) change({ error, loading: false });
      }
      if (!ended && every) timer = setTimeout(run, document.hidden ? every * 4 : every);
    };
    load.current = run;
    change({ loading: true, error: null });
    run();
    return () => {
      ended = true;
      clearTimeout(timer);
      if (controller) controller.abort();
    };
  }, [address, every]);
  return { ...state, fresh: state.address === address, reload: () => load.current() };
}
