// An address without a page.
import { html } from '../lib/html.js';
import { t } from '../lib/i18n.js';
import { PageHead, Panel, Empty } from '../parts/ui.js';

export default () => html`<${PageHead} title=${t('state.missing')} /><${Panel}><${Empty} icon="search"><p>${t('state.missing.text')}</p>
  <p><a href="/">${t('state.home')}</a></p></${Empty}></${Panel}>`;
