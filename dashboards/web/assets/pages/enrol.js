// 接入: tokens for new hosts, and hosts that wait for a person's approval.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute } from '../lib/router.js';
import { url, send, useResource } from '../lib/api.js';
import { dateTime, number, ago } from '../lib/format.js';
import { now } from '../lib/live.js';
import { PageHead, Panel, Loaded, Empty, CopyButton, Confirm } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { useMore } from '../parts/more.js';
import { SiteChoice } from '../parts/sitechoice.js';
import { Icon } from '../parts/icons.js';
import { Simulated } from '../parts/status.js';
import { actorName } from '../parts/audited.js';
import '../lib/enrol.js';

const HOURS = [1, 8];
const DAYS = [1, 7, 30];

/** What goes to the court on paper; only printers see it. */
const Sheet = ({ issued }) => html`<article class="sheet print-only"><h1>${t('enrol.sheet.title', { site: issued.site })}</h1><p><b>${t('enrol.sheet.who')}</b> ${t('enrol.sheet.limits', { n: issued.uses, time: dateTime(issued.expires_ms) })}</p>
  <ol><li>${t('enrol.sheet.step1')}</li><li>${t('enrol.sheet.step2')}</li><li>${t('enrol.sheet.step3')}<pre translate=${false}>${issued.commands.join('\n')}</pre></li>
    ${issued.approval ? html`<li>${t('enrol.sheet.approval')}</li>` : null}<li>${t('enrol.sheet.step4')}</li></ol><p>${t('enrol.sheet.help')}</p></article>`;

const Issued = ({ issued, onClose }) => html`<${Sheet} issued=${issued} /><div class="issued" role="status"><h3><${Icon} name="enrol" />${t('enrol.once')}</h3><p>${t('enrol.once.text')}</p>
  <div class="command"><pre tabindex="0" translate=${false}>${issued.commands.join('\n')}</pre><${CopyButton} text=${issued.commands.join('\n')} /></div>
  <div class="command"><pre tabindex="0" class="token" translate=${false}>${issued.token}</pre><${CopyButton} text=${issued.token} /></div>
  <p class="muted">${t('enrol.until')} ${dateTime(issued.expires_ms)}</p>
  <p class="issued-acts"><button class="button button-primary" onClick=${() => print()}><${Icon} name="print" size="15" />${t('enrol.print')}</button><button class="button" onClick=${onClose}>${t('enrol.close')}</button></p></div>`;

function Create({ onDone }) {
  const { query } = useRoute();
  const [issued, setIssued] = useState(null);
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const asking = query.get('site');
  const [site, choose] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setError(null);
    try {
      const asked = {
        site: Number(form.get('site')), uses: Number(form.get('uses')),
        expires_in_s: Number(form.get('expires')), approval: form.get('approval') === 'on',
      };
      setIssued({ ...asked, ...await send('POST', '/tokens', asked), site: site ? site.name : '' });
      onDone();
    } catch (cause) { setError(cause); }
    setBusy(false);
  };
  if (issued) return html`<${Issued} issued=${issued} onClose=${() => setIssued(null)} />`;
  return html`<p class="muted panel-lead">${t('enrol.how')}</p><form class="form-row" onSubmit=${submit}>
    <${SiteChoice} name="site" label=${t('enrol.site')} required none=${t('enrol.site.choose')} chosen=${site || (asking ? { id: Number(asking) } : null)} onChoose=${choose} />
    <label class="field"><span>${t('enrol.uses')}</span><input type="number" name="uses" min="1" max="10000" value="1" required /></label>
    <label class="field"><span>${t('enrol.expires')}</span><select class="select" name="expires">
      ${HOURS.map((n) => html`<option key=${`h${n}`} value=${n * 3600}>${t('enrol.expires.hours', { n })}</option>`)}
      ${DAYS.map((n) => html`<option key=${`d${n}`} value=${n * 86400} selected=${n === 7}>${t('enrol.expires.days', { n })}</option>`)}</select></label>
    <label class="check"><input type="checkbox" name="approval" />${t('enrol.approval')}</label>
    <button class="button button-primary" disabled=${busy}>${t('enrol.submit')}</button>
    ${error ? html`<p class="field-error" role="alert">${error.message}</p>` : null}</form>`;
}

const State = ({ state }) => html`<span class=${`tag ${state === 'active' ? 'tag-up' : ''}`}>${t(`enrol.state.${state}`)}</span>`;

function Tokens({ data, onRevoke }) {
  const { rows, button } = useMore('/tokens', data);
  if (!rows.length) return html`<${Empty} icon="enrol">${t('enrol.tokens.none')}</${Empty}>`;
  const columns = [
    { title: t('enrol.token'), lead: true, cell: (row) => html`<code translate=${false}>${row.id}</code>${row.simulated ? html` <${Simulated} />` : null}` },
    { title: t('enrol.site'), cell: (row) => html`<a class="quiet" href=${`/sites/${row.site.id}`}>${row.site.name}</a>` },
    { title: t('enrol.state'), cell: (row) => html`<${State} state=${row.state} />` },
    { title: t('enrol.left'), end: true, cell: (row) => `${number(row.uses_left)} / ${number(row.uses)}` },
    { title: t('enrol.approval.needed'), cell: (row) => t(row.approval ? 'enrol.approval.yes' : 'enrol.approval.no') },
    { title: t('enrol.until'), cell: (row) => html`<span class="nowrap">${dateTime(row.expires_ms)}</span>` },
    { title: t('enrol.by'), cell: (row) => html`<span>${actorName(row.created_by)}</span>` },
    { title: html`<span class="visually-hidden">${t('enrol.acts')}</span>`, key: 'acts', end: true, cell: (row) => (row.state === 'active' ? html`<button class="button button-small" onClick=${() => onRevoke(row)}>${t('enrol.revoke')}</button>` : null) },
  ];
  return html`<${Table} label=${t('enrol.tokens')} columns=${columns} rows=${rows} keyOf=${(row) => row.id} />${button}`;
}

function Approvals({ data, decide }) {
  const { rows, button } = useMore('/approvals', data);
  if (!rows.length) return html`<${Empty} icon="up">${t('enrol.approvals.none')}</${Empty}>`;
  return html`<p class="panel-note">${t('enrol.bound')}</p><ul class="approvals">${rows.map((row) => html`<li key=${row.id}><div><b translate=${false}>${row.hostname}</b> <span class="muted">${row.site.name} · ${t('enrol.requested')} ${ago(row.requested_ms, now())} · v${row.version}</span>
    <p class="mono approval-keys">${t('enrol.machine')} ${row.machine}<br />${t('enrol.evidence')} ${row.evidence_key}</p></div>
    <span class="approval-acts"><button class="button button-primary" onClick=${() => decide(row, 'approve')}>${t('enrol.approve')}</button><button class="button" onClick=${() => decide(row, 'refuse')}>${t('enrol.refuse')}</button></span></li>`)}</ul>${button}`;
}

export default function Enrol() {
  const tokens = useResource(url('/tokens'), 15000);
  const approvals = useResource(url('/approvals'), 5000);
  const [asked, ask] = useState(null);
  const [error, setError] = useState(null);
  const decide = async (row, decision) => {
    setError(null);
    try { await send('POST', `/approvals/${row.id}`, { decision }); } catch (cause) { setError(cause); }
    approvals.reload();
  };
  return html`<${PageHead} title=${t('enrol.title')} />
    <${Panel} id="create" title=${t('enrol.create')}><${Create} onDone=${tokens.reload} /></${Panel}>
    <div class="screen-only"><${Panel} id="approvals" flush title=${t('enrol.approvals')}>${error ? html`<p class="field-error panel-note" role="alert">${error.message}</p>` : null}
      <${Loaded} resource=${approvals} rows=${2}>${(data) => html`<${Approvals} data=${data} decide=${decide} />`}</${Loaded}></${Panel}>
    <${Panel} id="tokens" flush title=${t('enrol.tokens')}><${Loaded} resource=${tokens} rows=${4}>${(data) => html`<${Tokens} data=${data} onRevoke=${ask} />`}</${Loaded}></${Panel}></div>
    ${asked ? html`<${Confirm} danger text=${t('enrol.revoke.ask', { id: asked.id })} onCancel=${() => ask(null)}
      onDo=${async () => { await send('DELETE', `/tokens/${asked.id}`); ask(null); tokens.reload(); }} />` : null}`;
}
