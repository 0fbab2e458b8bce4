// Whether a host is who it says: certificate, clock, clone check, and what may be changed on it.
import { html } from '../../lib/html.js';
import { t } from '../../lib/i18n.js';
import { now } from '../../lib/live.js';
import { dateTime, duration, skew, bytes, number } from '../../lib/format.js';
import { Panel } from '../../parts/ui.js';
import { Pairs } from '../../parts/table.js';

const SKEW_LIMIT_MS = 5000;
const good = (text) => html`<span class="good">${text}</span>`;
const bad = (text) => html`<span class="bad">${text}</span>`;
const digest = (text) => (text ? html`<code class="digest">${text}</code>` : '');

export function Identity({ host }) {
  const ends = host.certificate_expires_s * 1000;
  const left = ends - now();
  const skewed = Math.abs(host.skew_ms || 0) > SKEW_LIMIT_MS;
  return html`<div class="halves">
    <${Panel} id="trust" title=${t('host.tab.identity')}><${Pairs} pairs=${[
    [t('identity.certificate'), dateTime(ends), ends ? (left > 0 ? t('identity.certificate.left', { d: duration(left) }) : bad(t('identity.certificate.late', { d: duration(left) }))) : null],
    [t('host.skew'), skew(host.skew_ms), host.skew_ms === null ? null : skewed ? bad(t('identity.skew.bad')) : good(t('identity.skew.ok'))],
    [t('identity.clone'), host.identity_conflict_ms ? bad(t('host.conflict')) : good(t('identity.clone.ok')), host.identity_conflict_ms ? t('host.conflict.text', { time: dateTime(host.identity_conflict_ms) }) : null],
    [t('identity.policy'), host.policy_root ? digest(host.policy_root) : t('identity.policy.none')],
    [t('host.version'), host.version ? html`<span class="mono">${host.version}</span>` : ''],
  ]} /></${Panel}>
    <${Panel} id="record" title=${t('host.state.details')}><${Pairs} pairs=${[
    [t('identity.number'), host.id],
    [t('identity.enrolled'), dateTime(host.enrolled_ms)],
    [t('identity.epoch'), number(host.epoch)],
    [t('identity.spool'), t('identity.spool.value', { size: bytes(host.spool_bytes), n: number(host.pending) })],
    [t('host.drops'), number(host.dropped)],
    [t('identity.machine'), digest(host.machine)],
    [t('identity.evidence'), digest(host.evidence_key)],
  ]} /></${Panel}></div>`;
}
