// 程序令牌: every token of a program, with whose it is, where it reaches and when it was used; withdrawn here.
import { html, useState } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute, hrefWith } from '../lib/router.js';
import { url, send, useResource } from '../lib/api.js';
import { useMay } from '../lib/who.js';
import { dateTime } from '../lib/format.js';
import { PageHead, Panel, Loaded, Empty, Confirm } from '../parts/ui.js';
import { Table } from '../parts/table.js';
import { useMore } from '../parts/more.js';
import { SiteChoice } from '../parts/sitechoice.js';
import { AuditLink } from '../parts/auditlink.js';
import { actorName } from '../parts/audited.js';
import { roleText } from '../parts/roles.js';
import { Icon } from '../parts/icons.js';
import { TokenState, LastUse, Issued } from '../parts/programs.js';

const DAYS = [30, 90, 180, 365];
const RIGHTS = ['read-metrics', 'write-metrics'];

function Create({ onDone }) {
  const [issued, setIssued] = useState(null);
  const [right, setRight] = useState(RIGHTS[0]);
  const [state, setState] = useState({ busy: false, error: null });
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const site = form.get('site') ? Number(form.get('site')) : null;
    setState({ busy: true, error: null });
    try {
      if (right === 'write-metrics' && !site) throw new Error(t('programs.site.needed'));
      const made = await send('POST', '/api-tokens', { name: String(form.get('name') || '').trim(), right, site, expires_in_days: Number(form.get('days')) });
      setIssued(made.token);
      setState({ busy: false, error: null });
      onDone();
    } catch (error) { setState({ busy: false, error }); }
  };
  if (issued) return html`<${Issued} token=${issued} onClose=${() => setIssued(null)} />`;
  return html`<p class="muted panel-lead">${t('programs.create.text')}</p><form class="form-row" onSubmit=${submit}>
    <label class="field"><span>${t('own.name')}</span><input name="name" required maxlength="100" autocomplete="off" /></label>
    <label class="field"><span>${t('programs.right')}</span><select class="select" value=${right} onChange=${(event) => setRight(event.currentTarget.value)}>
      ${RIGHTS.map((one) => html`<option key=${one} value=${one}>${t(`right.${one}`)}</option>`)}</select></label>
    <${SiteChoice} name="site" label=${t('programs.site')} none=${t('role.province')} />
    <label class="field"><span>${t('own.days')}</span><select class="select" name="days">${DAYS.map((n) => html`<option key=${n} value=${n} selected=${n === 90}>${t('own.days.n', { n })}</option>`)}</select></label>
    <button class="button button-primary" disabled=${state.busy}>${t('own.submit')}</button>
    ${state.error ? html`<p class="field-error" role="alert">${state.error.message}</p>` : null}</form>`;
}

/** An account by the name that people know it by, and the one that it signs in with. */
const Owner = ({ owner }) => (owner ? html`<span><a class="quiet" href=${hrefWith({ user: owner.id, cursor: null })}><b translate=${false}>${owner.name}</b></a>${owner.display_name ? html` <span class="muted">${owner.display_name}</span>` : null}</span>`
  : html`<span class="muted">${t('programs.owner.none')}</span>`);

const placeOf = (row) => (row.role ? roleText(row) : row.site ? row.site.name : t('role.province'));

function List({ data, params, onRevoke }) {
  const { rows, button } = useMore('/api-tokens', data, params);
  if (!rows.length) return html`<${Empty} icon="users">${t(params.valid ? 'programs.none' : 'programs.none.ever')}</${Empty}>`;
  const columns = [
    { title: t('own.name'), lead: true, cell: (row) => html`<span><b translate=${false}>${row.name}</b> <span class="muted nowrap" translate=${false}>#${row.id}</span></span>` },
    { title: t('programs.owner'), cell: (row) => html`<${Owner} owner=${row.owner} />` },
    { title: t('programs.right'), cell: (row) => t(`right.${row.right}`) },
    { title: t('programs.where'), cell: placeOf },
    { title: t('programs.used'), cell: (row) => html`<${LastUse} row=${row} />` },
    { title: t('programs.made'), minor: true, cell: (row) => html`<span><span class="nowrap">${dateTime(row.created_ms)}</span>${row.owner ? null : html` <span class="muted nowrap">${actorName(row.created_by)}</span>`}</span>` },
    { title: t('own.until'), cell: (row) => html`<span class="nowrap">${dateTime(row.expires_ms)}</span>` },
    { title: t('users.state'), cell: (row) => html`<${TokenState} state=${row.state} />` },
    { title: html`<span class="visually-hidden">${t('users.acts')}</span>`, key: 'acts', end: true, cell: (row) => html`<span class="row-acts"><${AuditLink} filter=${{ subject: `api-token:${row.id}` }} />${row.withdrawable ? html`<button class="button button-small" onClick=${() => onRevoke(row)}>${t('own.revoke')}</button>` : null}</span>` },
  ];
  return html`<${Table} label=${t('users.tokens')} columns=${columns} rows=${rows} keyOf=${(row) => row.id} />${button}`;
}

/** Whose tokens are shown, where it is one account's. */
function Whose({ id }) {
  const { data } = useResource(url(`/users/${id}`));
  return html`<span class="tag" translate=${false}>${t('programs.only', { name: data ? data.name : `#${id}` })}</span> <a class="button button-small" href=${hrefWith({ user: null })}>${t('programs.everybody')}</a>`;
}

export default function Programs() {
  const { query } = useRoute();
  const may = useMay();
  const [asked, ask] = useState(null);
  const user = query.get('user');
  const all = query.get('all') === '1';
  const params = { user, valid: all ? null : true };
  const tokens = useResource(url('/api-tokens', params), 15000);
  const text = asked && t(asked.owner ? 'programs.revoke.ask.of' : 'programs.revoke.ask', { name: asked.name, owner: asked.owner && asked.owner.name });
  return html`<${PageHead} title=${t('users.tokens')}><span class="page-tools"><a class="button" href="/users"><${Icon} name="users" size="14" />${t('programs.back')}</a></span></${PageHead}>
    <${Panel} id="programs" flush title=${t(all ? 'programs.list.all' : 'programs.list')} action=${html`<a href=${hrefWith({ all: all ? null : '1' })}>${t(all ? 'programs.valid' : 'programs.all')}</a>`}>
      <p class="panel-note">${t('programs.text')}</p>${user ? html`<p class="panel-note"><${Whose} id=${user} /></p>` : null}
      <${Loaded} resource=${tokens} rows=${4}>${(data) => html`<${List} key=${`${user} ${all}`} data=${data} params=${params} onRevoke=${ask} />`}</${Loaded}></${Panel}>
    ${may('manage_programs') ? html`<${Panel} id="create" title=${t('programs.create')}><${Create} onDone=${tokens.reload} /></${Panel}>` : null}
    ${asked ? html`<${Confirm} danger text=${text} onCancel=${() => ask(null)}
      onDo=${async () => { await send('DELETE', `/api-tokens/${asked.id}`); ask(null); tokens.reload(); }} />` : null}`;
}
