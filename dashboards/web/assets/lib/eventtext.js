// What an event says, in the reader's language: a sentence made of its kind and fields. The agent's
// own words are English and stay the text where nothing better is known.
import { isEnglish } from './i18n.js';
import { dateTime } from './format.js';

/** @type {Record<string, string>} */
const CHANGES = {
  added: '新增', created: '新增', removed: '删除', deleted: '删除', changed: '变更', modified: '变更',
  installed: '安装', upgraded: '升级', downgraded: '降级', replaced: '被替换', missing: '缺失',
  password: '修改密码', 'password changed': '修改密码', 'member added': '加入成员', 'member removed': '移除成员',
  'locked after failures': '多次失败后锁定', 'password file changed': '密码文件被改', 'removed or bit cleared': '被删除或去掉提权位', purged: '彻底删除', truncated: '被截断',
  locked: '锁定', unlocked: '解锁', renamed: '改名',
};

/** @type {Record<string, string>} */
const FIELDS = {
  user: '用户', unknown_user: '不存在的用户', target_user: '目标用户', by_user: '操作者', source_address: '来源地址',
  source_port: '来源端口', source_addresses: '来源地址', users: '用户', service: '服务', method: '方式', command: '命令',
  working_folder: '工作目录', tty: '终端', change: '变更', group: '用户组', members: '成员', path: '路径', fingerprint: '密钥指纹',
  key_type: '密钥类型', protocol: '协议', address: '地址', port: '端口', uid: '用户编号', gid: '组编号', mode: '权限', owner: '属主',
  package: '软件包', before: '之前', after: '之后', vendor_id: '厂商编号', product_id: '产品编号', product: '产品', serial: '序列号',
  step_ms: '跳变（毫秒）', reason: '原因', source: '来源', from_ms: '开始', to_ms: '结束', count: '次数', version: '版本', process: '程序',
  pid: '进程号', shell: '登录程序', home: '主目录', record: '记录类型', login_uid: '登录用户编号', result: '结果', key: '规则名', log: '日志',
  device: '设备', trap: '告警编号', text_zh: '含义', text_en: '英文含义', values: '附带的值', clears: '解除的告警', repeats: '重复次数', held_back: '未列出', addresses: '来源地址', name: '名称',
  summarised: '合并', forged: '疑似伪造', written_by: '写入程序', written_by_uid: '写入用户编号', account: '账号',
};

/** Why traps of a device are refused. @type {Record<string, string>} */
const REFUSALS = {
  malformed: '报文损坏', not_a_trap: '不是告警报文', wrong_community: '团体字不对，或应使用 SNMPv3', ambiguous: '同一地址有多台设备，无法区分',
  unknown_user: '用户名不对', unsigned: '没有签名，或签名加密方式与配置不符', wrong_signature: '口令不对，或系伪造', wrong_cipher: '加密口令不对',
  wrong_time: '时间不符，可能是重放', wrong_engine: '不是发给本机的',
};

const TIMES = new Set(['from_ms', 'to_ms']);

/** The name of a field. @param {string} name */
export const fieldName = (name) => (isEnglish() ? name : FIELDS[name] || name);

/** The value of a field: times as times, all else as it came. @param {string} name @param {string} value */
export const fieldValue = (name, value) => (TIMES.has(name) && /^\d+$/.test(value) ? dateTime(Number(value)) : value);

/** @typedef {Record<string, string>} Fields What an event says, by name. */

/** @param {Fields} f */
const from = (f) => (f.source_address ? `，来自 ${f.source_address}` : f.source_addresses ? `，来自 ${f.source_addresses}` : '');
/** @param {Fields} f */
const by = (f) => (f.service ? `（${f.service}${f.method ? `，${f.method}` : ''}）` : '');
/** @param {Fields} f */
const who = (f) => f.user || f.unknown_user || f.users || '未知用户';
/** @param {Fields} f */
const change = (f) => CHANGES[f.change] || f.change || '变更';
/** @param {Fields} f */
const times = (f) => (f.summarised && f.count ? `，共 ${f.count} 次` : '');
/** @param {number} ms */
const seconds = (ms) => `${(Number(ms) / 1000).toFixed(Math.abs(Number(ms)) < 10000 ? 1 : 0)} 秒`;
/** @param {Fields} f */
const port = (f) => `${f.protocol ? `${f.protocol} ` : ''}${f.address ? `${f.address}:` : ''}${f.port || ''}`;

/** @type {Record<string, (f: Fields) => string>} */
const SENTENCES = {
  login: (f) => `${who(f)} 登录${from(f)}${by(f)}${times(f)}`,
  login_failed: (f) => `${f.unknown_user ? '不存在的用户 ' : ''}${who(f)} 登录失败${from(f)}${by(f)}${times(f)}`,
  logout: (f) => `${who(f)} 退出${by(f)}${times(f)}`,
  sudo: (f) => (f.command ? `${who(f)} 以 ${f.target_user || 'root'} 身份执行 ${f.command}` : ''),
  sudo_failed: (f) => `${who(f)} 提权被拒${f.command ? `：${f.command}` : ''}${times(f)}`,
  account_changed: (f) => (f.user || f.account ? `账号 ${f.user || f.account}：${change(f)}` : f.change ? `${f.path || '账号'}：${change(f)}` : ''),
  group_changed: (f) => (f.group ? `用户组 ${f.group}：${change(f)}${f.members ? `，成员 ${f.members}` : ''}${f.user ? `，${f.user}` : ''}` : ''),
  key_changed: (f) => `${f.user || f.path || ''} 的登录密钥：${change(f)}${f.fingerprint ? ` ${f.fingerprint}` : ''}`,
  listening_port_opened: (f) => (f.port ? `开始监听 ${port(f)}` : ''),
  listening_port_closed: (f) => (f.port ? `不再监听 ${port(f)}` : ''),
  setuid_file_added: (f) => (f.path ? `${f.path} 带有提权位${f.owner ? `，属主 ${f.owner}` : ''}${f.mode ? `，权限 ${f.mode}` : ''}` : ''),
  setuid_file_changed: (f) => (f.path ? `${f.path}：${change(f)}` : ''),
  package_changed: (f) => (f.package ? `${change(f)} ${f.package}${f.before ? ` ${f.before}` : ''}${f.before && f.after ? ' →' : ''}${f.after ? ` ${f.after}` : ''}` : ''),
  usb_added: (f) => `接入 USB 设备 ${f.product || ''} ${f.vendor_id || ''}:${f.product_id || ''}${f.serial ? `，序列号 ${f.serial}` : ''}`,
  usb_removed: (f) => `拔出 USB 设备 ${f.product || ''} ${f.vendor_id || ''}:${f.product_id || ''}`,
  time_stepped: (f) => (f.step_ms ? `时钟${Number(f.step_ms) < 0 ? '后退' : '前进'} ${seconds(Math.abs(Number(f.step_ms)))}` : ''),
  agent_tampered: (f) => (f.path ? `代理文件 ${f.path}：${change(f)}` : ''),
  agent_started: (f) => `代理 ${f.version || ''} 已启动`,
  agent_stopped: (f) => (f.reason === 'host shuts down' ? '主机关机，代理停止' : '代理停止'),
  source_gap: (f) => `来源 ${f.source || ''} 有一段时间读不到${f.from_ms ? `，自 ${dateTime(Number(f.from_ms))}` : ''}${f.to_ms ? ` 至 ${dateTime(Number(f.to_ms))}` : ''}`,
  facts: () => '主机配置有变化',
  device_silent: (f) => `设备 ${f.device || ''} 没有应答${f.answered_ms ? `，上次应答于 ${dateTime(Number(f.answered_ms))}` : ''}`,
  device_answers: (f) => `设备 ${f.device || ''} 恢复应答${f.silent_since_ms ? `，此前自 ${dateTime(Number(f.silent_since_ms))} 起没有应答` : ''}`,
  device_restarted: (f) => `设备 ${f.device || ''} 重新启动${f.uptime_s ? `，已运行 ${f.uptime_s} 秒` : ''}`,
  device_changed: (f) => `设备 ${f.device || ''} ${f.change === 'model' ? '换了型号' : '的描述有变化，可能升级了固件'}`,
  device_port_up: (f) => `设备 ${f.device || ''} 的端口 ${f.port || ''}${f.alias ? `（${f.alias}）` : ''} 接通${f.more ? `，另有 ${f.more} 个端口` : ''}`,
  device_trap: (f) => `设备 ${f.device || ''}：${f.text_zh || '主动上报'}${f.port ? `，端口 ${f.port}` : ''}${f.text_zh === '设备主动上报' ? `（${f.trap}）` : ''}${f.repeats ? `，此前重复 ${f.repeats} 次` : ''}${f.held_back ? `，另有 ${f.held_back} 条未逐一列出` : ''}`,
  device_traps_refused: (f) => `设备 ${f.device || ''} 上报的告警未被接受：${REFUSALS[f.reason] || f.reason || ''}${f.count ? `，共 ${f.count} 条` : ''}`,
  device_traps_unknown: (f) => `收到来自未登记地址的告警，未予采信：${f.addresses || ''}${f.count ? `，共 ${f.count} 条` : ''}`,
  device_traps_lost: (f) => `本机来不及接收，丢失了设备上报的告警（${Number(f.kernel || 0) + Number(f.queue || 0) + Number(f.rate || 0)} 条）；设备仍在照常采集`,
  device_port_down: (f) => `设备 ${f.device || ''} 的端口 ${f.port || ''}${f.alias ? `（${f.alias}）` : ''} 断开${f.more ? `，另有 ${f.more} 个端口` : ''}`,
};

/** What an event says. @param {Pick<Api.Shape<'EventRow'>, 'kind'|'message'|'fields'>} event */
export function eventText(event) {
  if (isEnglish()) return event.message;
  const sentence = SENTENCES[event.kind];
  return (sentence && sentence(event.fields || {})) || event.message;
}
