// 终端: every agent with its version, what it costs its host, its clock and what it had to drop.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { useRoute } from '../lib/router.js';
import { PageHead, Panel } from '../parts/ui.js';
import { useMay } from '../lib/who.js';
import { scoped } from '../lib/scope.js';
import { HostTable, wantedHosts } from '../parts/hosttable.js';
import { Exports } from '../parts/exports.js';

export default function Fleet() {
  const { query } = useRoute();
  const enrols = useMay()('manage_hosts');
  const empty = html`<p>${t(enrols ? 'fleet.empty' : 'fleet.empty.ask')}</p>${enrols ? html`<p><a href=${scoped('/enrol')}>${t('nav.enrol')}</a></p>` : null}`;
  return html`<${PageHead} title=${t('fleet.title')}><span class="page-tools"><${Exports} path="/hosts/export" params=${wantedHosts(query)} name="hosts" /></span></${PageHead}><${Panel} flush><${HostTable} empty=${empty} /></${Panel}>`;
}
