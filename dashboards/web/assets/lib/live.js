// The one connection over which the controller tells what changed. All parts of a page share it.
//
// It answers with a snapshot and then with numbered changes; after a break the browser sends the
// last number again and gets what it missed, or a new snapshot if that is too long ago.
import { watched, useWatched } from './store.js';
import { useEffect, useRef } from './html.js';

const SILENT_MS = 12000;

/**
 * What the controller tells of its own accord: a snapshot, what changed since, or only that it is there.
 * @typedef {object} News
 * @property {number} now_ms the controller's clock
 * @property {Api.Shape<'Counts'>} [counts]
 * @property {Api.Shape<'HostRow'>[]} [hosts] those that changed, as far as this page asked for hosts
 * @property {number[][]} [sites] `[site, up, stale, down, unknown]`
 * @property {Api.Shape<'Ailment'>[]} [ailments]
 */

/** `status`: 'connecting' | 'live' | 'stale'; `at`: when something last came. */
const state = watched({ status: 'connecting', at: 0, seconds: 0 });
/** Counts by presence over all hosts, as the controller last said; null before the first message. */
const counts = watched(/** @type {Api.Shape<'Counts'>|null} */ (null));
/** What is wrong with the controller, as it last said; empty while all is well. */
const ailments = watched(/** @type {Api.Shape<'Ailment'>[]} */ ([]));
/** @type {Map<number, Api.Shape<'HostRow'>>} */
const hosts = new Map();
/** @type {Set<(rows: Api.Shape<'HostRow'>[], whole: boolean) => void>} */
const listeners = new Set();
/** @type {Set<(sites: number[][], whole: boolean) => void>} */
const siteListeners = new Set();
/** @type {EventSource|null} */
let source = null;
let clockError = 0;
/** @type {any} a timer */
let retry = 0;
let failures = 0;
let watchedHost = '';
let asked = '';
/** @type {any} a timer */
let settling = 0;

/** The controller's time: pages judge ages by it, so that a wrong browser clock shows nothing wrong. */
export const now = () => Date.now() + clockError;
/** @param {number} ms */
export const setServerTime = (ms) => { if (ms) clockError = ms - Date.now(); };
export const useLiveState = () => useWatched(state);
export const useCounts = () => useWatched(counts);
export const useAilments = () => useWatched(ailments);

/** @param {News} message */
function heard(message) {
  failures = 0;
  setServerTime(message.now_ms);
  state.set({ status: 'live', at: Date.now(), seconds: 0 });
}

/** @param {News} message @param {boolean} whole */
function changed(message, whole) {
  if (whole) hosts.clear();
  for (const row of message.hosts || []) hosts.set(row.id, row);
  if (message.counts) counts.set(message.counts);
  for (const listener of [...listeners]) listener(message.hosts || [], whole);
  for (const listener of [...siteListeners]) listener(message.sites || [], whole);
}

/** @param {EventSource} connection @param {string} name @param {(message: News) => void} act */
function on(connection, name, act) {
  connection.addEventListener(name, (event) => {
    /** @type {News} */
    const message = JSON.parse(/** @type {MessageEvent} */ (event).data);
    heard(message);
    act(message);
  });
}

export function start() {
  if (source) return;
  // Hosts one by one only while a part of the page lists them: the wall of a province needs its sites.
  const rows = listeners.size > 0;
  asked = `rows=${rows}${watchedHost ? `&watch=${watchedHost}` : ''}`;
  const opened = new EventSource(`/api/v1/live?${asked}`);
  source = opened;
  on(opened, 'snapshot', (message) => changed(message, true));
  on(opened, 'delta', (message) => changed(message, false));
  on(opened, 'heartbeat', () => {});
  on(opened, 'health', (message) => ailments.set(message.ailments || []));
  opened.addEventListener('ended', () => { stop(); location.assign('/login'); });
  opened.addEventListener('error', () => {
    // The browser tries again by itself unless it got a refusal, which closes it for good.
    if (source && source.readyState === EventSource.CLOSED) {
      source.close();
      source = null;
      failures += 1;
      clearTimeout(retry);
      retry = setTimeout(start, Math.min(30000, 1000 * 2 ** failures) * (0.5 + Math.random() / 2));
    }
  });
}

export function stop() {
  resting = false;
  clearTimeout(retry);
  if (source) source.close();
  source = null;
  hosts.clear();
  counts.set(null);
  state.set({ status: 'connecting', at: 0, seconds: 0 });
}

setInterval(() => {
  const { at, status } = state.get();
  if (!at) return;
  const silent = Date.now() - at;
  if (silent > SILENT_MS) state.set({ status: 'stale', at, seconds: Math.round(silent / 1000) });
  else if (status === 'stale') state.set({ status: 'live', at, seconds: 0 });
}, 1000);

/** Connects anew if the page has come to need something else; once for all parts that come and go together. */
function settle() {
  clearTimeout(settling);
  settling = setTimeout(() => {
    if (source && asked !== `rows=${listeners.size > 0}${watchedHost ? `&watch=${watchedHost}` : ''}`) { source.close(); source = null; start(); }
  }, 50);
}

/** Asks for every report of one host, not only for changes of its presence. @param {string} id */
export function useWatchHost(id) {
  useEffect(() => {
    watchedHost = String(id);
    settle();
    return () => { watchedHost = ''; settle(); };
  }, [id]);
}

// A browser opens six connections to a plain port and this is one of them: a tab that nobody looks
// at gives it back, and reads everything anew when it is looked at.
let resting = false;
/** @type {any} a timer */
let timer = 0;

function rest() {
  if (!source) return;
  stop();
  resting = true;
}

function wake() {
  clearTimeout(timer);
  if (!resting) return;
  resting = false;
  start();
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) timer = setTimeout(rest, 60000);
  else wake();
});
// A page that the browser keeps for the back button must not keep its connection.
addEventListener('pagehide', rest);
addEventListener('pageshow', wake);

/**
 * Calls back with the changed rows; `whole` after a snapshot, when everything may have changed.
 * @param {(rows: Api.Shape<'HostRow'>[], whole: boolean) => void} callback @param {any[]} keys
 */
export function useChanges(callback, keys) {
  useEffect(() => {
    listeners.add(callback);
    settle();
    return () => { listeners.delete(callback); settle(); };
  }, keys);
}

/**
 * Calls back with `[site, up, stale, down, unknown]` of each site whose own hosts changed.
 * @param {(sites: number[][], whole: boolean) => void} callback @param {any[]} keys
 */
export function useSiteChanges(callback, keys) {
  useEffect(() => {
    siteListeners.add(callback);
    return () => { siteListeners.delete(callback); };
  }, keys);
}

/** Something to be called often that acts at most once in `ms`, and always after the last call. @param {() => void} act @param {number} ms */
export function useSoon(act, ms) {
  const waiting = useRef(/** @type {any} a timer */ (0));
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => () => clearTimeout(waiting.current), []);
  return () => {
    if (waiting.current) return;
    waiting.current = setTimeout(() => { waiting.current = 0; latest.current(); }, ms);
  };
}

/** The newest live row of a host, if any came. @param {number} id */
export const liveRow = (id) => hosts.get(id);
