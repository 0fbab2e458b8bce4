// Where the screens start: the frame around every page and the choice of the page.
import { html, render, useEffect, useState } from './lib/html.js';
import { useRoute, navigate, hrefWith } from './lib/router.js';
import { useLanguage, t } from './lib/i18n.js';
import { useResource, url } from './lib/api.js';
import { start, stop, setServerTime } from './lib/live.js';
import { setWho, isWall } from './lib/who.js';
import { watchKeys } from './lib/keys.js';
import { Shell } from './parts/shell.js';
import { Guarded, PageHead, Skeleton, Problem } from './parts/ui.js';
import { pageFor } from './pages/list.js';

/** The page's component, once its module has arrived. */
function usePage(page) {
  const [loaded, setLoaded] = useState({ page: null, view: null, error: null });
  useEffect(() => {
    let wanted = true;
    page.load().then(
      (module) => { if (wanted) setLoaded({ page, view: module.default, error: null }); },
      (error) => { if (wanted) setLoaded({ page, view: null, error }); },
    );
    return () => { wanted = false; };
  }, [page]);
  return loaded.page === page ? loaded : { view: null, error: null };
}

function Page({ found }) {
  const { view, error } = usePage(found.page);
  if (error) return html`<${Problem} error=${new Error(t('shell.lost'))} retry=${() => location.reload()} />`;
  if (!view) return html`<${Skeleton} rows=${8} />`;
  return html`<${Guarded} key=${found.key}><${view} ...${found.parameters} /></${Guarded}>`;
}

/** A page that its reader may not see: said once, and not by every part of it. */
const Closed = ({ page }) => html`<${PageHead} title=${t(page.title)} /><${Problem} error=${{ status: 403, message: t('problem.not_allowed') }} />`;

function SignedIn({ found }) {
  const { path } = useRoute();
  const me = useResource(url('/me'));
  const known = me.data;
  useEffect(() => {
    if (!known) return undefined;
    setServerTime(known.now_ms);
    // Who must first set a password may not see anything yet.
    if (known.user.password_once) return undefined;
    start();
    return stop;
  }, [known && known.user.name]);
  const first = known && known.user.password_once && path !== '/me';
  useEffect(() => { if (first) navigate('/me', { replace: true }); }, [first]);
  // A screen on a wall has one page, and its own account.
  const astray = known !== null && isWall(known) && !known.user.password_once && !found.page.bare && path !== '/me';
  useEffect(() => { if (astray) navigate(path === '/' ? hrefWith({ wall: '1' }) : '/?wall=1', { replace: true }); }, [astray, path]);
  if (!known) return me.error && me.error.status !== 401 ? html`<${Problem} error=${me.error} retry=${me.reload} />` : html`<${Skeleton} rows=${8} />`;
  if (first || astray) return html`<${Skeleton} rows=${8} />`;
  setWho(known);
  if (found.page.bare) return html`<${Page} found=${found} />`;
  const closed = found.page.may && !known.permissions.includes(found.page.may);
  return html`<${Shell} me=${known} current=${found.page.nav} scope=${!closed && found.page.scope}>${closed ? html`<${Closed} page=${found.page} />` : html`<${Page} found=${found} />`}</${Shell}>`;
}

function App() {
  const language = useLanguage();
  const { path, query } = useRoute();
  const found = pageFor(path, query);
  useEffect(() => {
    document.title = `${found.page.title ? `${t(found.page.title)} · ` : ''}${t('app.name')} ${t('app.purpose')}`;
  }, [found.page, language]);
  if (found.page.open) return html`<${Page} key=${language} found=${found} />`;
  return html`<${SignedIn} key=${language} found=${found} />`;
}

watchKeys();
if (location.pathname !== '/' && location.pathname.endsWith('/')) navigate(location.pathname.replace(/\/+$/, '') + location.search, { replace: true });
const app = /** @type {HTMLElement} */ (document.getElementById('app'));
app.textContent = '';
render(html`<${App} />`, app);
