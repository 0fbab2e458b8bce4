// Whether a host is who it says: certificate, clock, clone check, and what may be changed on it.
import { html, useState } from '../../lib/html.js';
import { t } from '../../lib/i18n.js';
import { now } from '../../lib/live.js';
import { dateTime, duration, skew, bytes, number } from '../../lib/format.js';
import { send } from '../../lib/api.js';
import { Panel, Confirm } from '../../parts/ui.js';
import { useMay } from '../../lib/who.js';
import { Pairs } from '../../parts/table.js';

const SKEW_LIMIT_MS = 5000;
const good = (text) => html`<span class="good">${text}</span>`;
const bad = (text) => html`<span class="bad">${text}</span>`;
const digest = (text) => (text ? html`<code class="digest" translate=${false}>${text}</code>` : '');

export function Identity({ host, record, reload }) {
  const [asked, ask] = useState(false);
  const manages = useMay()('manage_hosts');
  const ends = host.certificate_expires_s * 1000;
  const left = ends - now();
  const skewed = Math.abs(host.skew_ms || 0) > SKEW_LIMIT_MS;
  return html`<div class="halves">
    <${Panel} id="trust" title=${t('host.tab.identity')}><${Pairs} pairs=${[
    [t('identity.certificate'), dateTime(ends), ends ? (left > 0 ? t('identity.certificate.left', { d: duration(left) }) : bad(t('identity.certificate.late', { d: duration(left) }))) : null],
    [t('host.skew'), skew(host.skew_ms), host.skew_ms === null ? null : skewed ? bad(t('identity.skew.bad')) : good(t('identity.skew.ok'))],
    [t('identity.clone'), host.identity_conflict_ms ? bad(t('host.conflict')) : good(t('identity.clone.ok')), host.identity_conflict_ms ? t('host.conflict.text', { time: dateTime(host.identity_conflict_ms) }) : null],
    [t('identity.policy'), record.policy_root ? digest(record.policy_root) : t('identity.policy.none')],
    [t('host.version'), host.version ? html`<span class="mono">${host.version}</span>` : ''],
  ]} />${host.identity_conflict_ms && manages ? html`<p class="settle"><button class="button" onClick=${() => ask(true)}>${t('identity.settle')}</button></p>` : null}
    ${asked ? html`<${Confirm} text=${t('identity.settle.ask', { name: host.hostname })} onCancel=${() => ask(false)}
      onDo=${async () => { await send('POST', `/hosts/${host.id}/settle`); ask(false); reload(); }} />` : null}</${Panel}>
    <${Panel} id="record" title=${t('host.state.details')}><${Pairs} pairs=${[
    [t('identity.number'), host.id],
    [t('identity.enrolled'), dateTime(record.enrolled_ms)],
    [t('identity.epoch'), number(record.epoch)],
    [t('identity.spool'), t('identity.spool.value', { size: bytes(host.spool_bytes), n: number(host.pending) })],
    [t('host.drops'), number(host.dropped)],
    [t('identity.machine'), digest(record.machine)],
    [t('identity.evidence'), digest(record.evidence_key)],
  ]} /></${Panel}></div>`;
}
