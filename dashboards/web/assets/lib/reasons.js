// What agents and the controller say went wrong is written in English, for logs. Here is what a reader
// of Chinese pages sees instead. What this build does not know is shown as it came, as data.
import { html } from './html.js';
import { isEnglish } from './i18n.js';

/** What could not be read, before the colon. @type {Record<string, string>} */
const SUBJECTS = {
  machine: '整机', kernel: '内核', 'operating system': '操作系统', 'network interfaces': '网卡', addresses: '网络地址',
  disks: '磁盘', packages: '软件包', processor: '处理器', memory: '内存', 'listening ports': '监听端口', 'boot time': '启动时间',
  'time zone': '时区',
};

/** @type {Record<string, string>} */
const SENTENCES = {
  'neither DMI nor a device tree names the model': '固件没有给出型号',
  'the serial number is readable by root only': '序列号只有 root 能读',
  'neither dpkg\'s nor rpm\'s database was found': '没有找到 dpkg 或 rpm 的数据库',
  'the model is not named': '没有给出型号',
  'meminfo does not say the total': 'meminfo 没有给出总量',
  'stat has no btime': '/proc/stat 里没有启动时间',
  '/etc/localtime points outside of zoneinfo': '/etc/localtime 不指向时区库',
  'no serial number': '没有序列号',
  'wear is in SMART data, which needs a privilege to read': '磨损程度在 SMART 数据里，读取它需要特权',
  'it does not follow the record before it': '与前一条对不上',
  'its content was changed': '内容被改动',
  'its detail was changed': '详情被改动',
  'it is not the entry that was written': '不是当时写入的那一条',
  'it was not written by the controller': '不是控制器写入的',
  'the head that is kept apart from the entries is gone': '另存的链头不见了',
  'the times that are kept of it and the entries after it are not theirs: a search for a time passes them over': '另存的时间范围不对，按时间查找会漏掉它',
  'its digests are unreadable': '摘要无法读取',
  'this agent polls no devices': '这个代理不轮询设备',
};

/** Linux error numbers that a host's disk or rights bring about. @type {Record<string, string>} */
const ERRORS = { 1: '不允许', 2: '文件不存在', 5: '读写出错', 12: '内存不足', 13: '没有权限', 24: '打开的文件过多', 28: '磁盘已满', 30: '文件系统只读', 110: '超时', 111: '连接被拒绝', 122: '超出磁盘配额' };

/** @type {[RegExp, (...parts: string[]) => string|undefined|''][]} */
const PATTERNS = [
  [/^cannot write: (.*?); new batches wait in memory(?:; (.*))?$/, (why, more) => `写不进磁盘（${reasonText(why)}），新数据暂存在内存${more ? `；${reasonText(more)}` : ''}`],
  [/^cannot keep state: (.*)$/, (why) => `状态写不进磁盘（${reasonText(why)}）`],
  [/^record (\d+) stands in its place$/, (n) => `它的位置上是第 ${n} 条`],
  [/^it and all up to entry (\d+) are missing$/, (n) => `从这一条起，直到第 ${n} 条都不见了`],
  [/\(os error (\d+)\)$/, (n) => ERRORS[n]],
  [/^cannot read (\S+?)(?:: (.*))?$/, (path, why) => `读不了 ${path}${why ? `：${reasonText(why)}` : ''}`],
  [/^not offered by this host: (.*)$/, (why) => `本机不提供：${reasonText(why)}`],
  [/^disks ([^:]+): (.*)$/, (names, why) => `磁盘 ${names}：${reasonText(why)}`],
  [/^([a-z ]+): (.*)$/, (what, why) => SUBJECTS[what] && `${SUBJECTS[what]}：${reasonText(why)}`],
];

/** @param {string} text @returns {string|null} */
function translated(text) {
  if (isEnglish()) return null;
  if (SENTENCES[text]) return SENTENCES[text];
  for (const [pattern, say] of PATTERNS) {
    const [whole, ...parts] = pattern.exec(text) || [];
    if (whole !== undefined) return say(...parts) || null;
  }
  return null;
}

/** A reason in the reader's language, as text; what is not known stays as it is. @param {string} text @returns {string} */
export const reasonText = (text) => translated(text) || text;

/** The same on a page, where what is not known is marked as data. @param {{ text: string }} props */
export function Reason({ text }) {
  const said = translated(text);
  return said === null ? html`<span translate=${false}>${text}</span>` : html`<span>${said}</span>`;
}
