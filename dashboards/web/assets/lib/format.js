// Numbers and times for people. Times are Asia/Shanghai whatever the browser's zone.
import { t } from './i18n.js';

const ZONE = 'Asia/Shanghai';
/** @param {Intl.DateTimeFormatOptions} options */
const part = (options) => new Intl.DateTimeFormat('zh-CN', { timeZone: ZONE, hour12: false, ...options });
const fields = part({ year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit' });

/** @param {number} ms */
function parts(ms) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const { type, value } of fields.formatToParts(new Date(ms))) found[type] = value;
  // Some engines write midnight as 24.
  if (found.hour === '24') found.hour = '00';
  return found;
}

/** `2025-11-21 21:50:03` @param {number|null|undefined} ms */
export function dateTime(ms) {
  if (!ms) return '–';
  const p = parts(ms);
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second}`;
}

/** `11-21 21:50:03` @param {number|null|undefined} ms */
export function shortTime(ms) {
  return ms ? dateTime(ms).slice(5) : '–';
}

/** @param {number|null|undefined} ms */
export function date(ms) {
  return ms ? dateTime(ms).slice(0, 10) : '–';
}

/** `1.5 GB`; steps of 1,024, as memory and disks are counted by the kernel. @param {number|null|undefined} value */
export function bytes(value, digits = 1) {
  if (value === null || value === undefined || !isFinite(value)) return '–';
  const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
  let size = Math.abs(value);
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) { size /= 1024; unit += 1; }
  return `${value < 0 ? '-' : ''}${size.toFixed(unit === 0 || size >= 100 ? 0 : digits)} ${units[unit]}`;
}

/** @param {number|null|undefined} value */
export const bytesPerSecond = (value) => (value === null || value === undefined ? '–' : `${bytes(value)}/s`);

/** `12.5 Mbit/s`, from bytes per second; steps of 1,000, as lines are contracted. @param {number|null|undefined} value */
export function bitsPerSecond(value) {
  if (value === null || value === undefined || !isFinite(value)) return '–';
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'];
  let rate = value * 8;
  let unit = 0;
  while (rate >= 1000 && unit < units.length - 1) { rate /= 1000; unit += 1; }
  return `${rate.toFixed(unit === 0 || rate >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** @param {number|null|undefined} value */
export function percent(value, digits = 1) {
  return value === null || value === undefined || !isFinite(value) ? '–' : `${value.toFixed(digits)}%`;
}

/** @param {number|null|undefined} value */
export function number(value, digits = 0) {
  if (value === null || value === undefined || !isFinite(value)) return '–';
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** `3 天 4 小时` from milliseconds: the two largest units. @param {number} ms */
export function duration(ms) {
  const total = Math.max(0, Math.round(Math.abs(ms) / 1000));
  /** @type {[number, string][]} */
  const steps = [[86400, 'time.day'], [3600, 'time.hour'], [60, 'time.minute'], [1, 'time.second']];
  const words = [];
  let rest = total;
  for (const [size, key] of steps) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) words.push(t(key, { n: count }));
    if (words.length === 2 || (words.length === 1 && count === 0)) break;
  }
  return words.length ? words.slice(0, 2).join(' ') : t('time.second', { n: 0 });
}

/** @param {number|null|undefined} ms @param {number} now */
export function ago(ms, now) {
  if (!ms) return t('time.never');
  const past = now - ms;
  if (past < 2000) return t('time.now');
  return t('time.ago', { d: duration(past < 60000 ? past : Math.floor(past / 60000) * 60000) });
}

/** A clock's error with its sign: `+1.2 秒`, `快 2 年`. @param {number|null|undefined} ms */
export function skew(ms) {
  if (ms === null || ms === undefined) return '–';
  const size = Math.abs(ms);
  if (size < 1000) return `${ms > 0 ? '+' : ms < 0 ? '−' : ''}${number(size)} ms`;
  if (size < 60000) return `${ms > 0 ? '+' : '−'}${number(size / 1000, 1)} s`;
  return t(ms > 0 ? 'skew.fast' : 'skew.slow', { d: duration(size) });
}

const COURT_ENDING = /(高级人民法院|中级人民法院|中级法院|人民法院|法院)$/;

/** A court's name without the words that every court's name has. @param {string} name */
export function shortCourt(name) {
  return name.replace(COURT_ENDING, '') || name;
}
