// 终端: every agent with its version, what it costs its host, its clock and what it had to drop.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { PageHead, Panel } from '../parts/ui.js';
import { HostTable } from '../parts/hosttable.js';

export default () => html`<${PageHead} title=${t('fleet.title')} />
  <${Panel} flush><${HostTable} empty=${html`<p>${t('fleet.empty')}</p><p><a href="/enrol">${t('nav.enrol')}</a></p>`} /></${Panel}>`;
