// Every page, one line each: the shape of its address, its module, and where it hangs in the
// navigation. A page's code is fetched when the page is first opened, and only by who has the permission `may`.

const PAGES = [
  { path: /^\/$/, nav: 'overview', scope: true, title: 'nav.overview', load: () => import('./overview.js') },
  { path: /^\/sites$/, nav: 'sites', title: 'sites.title', load: () => import('./sites.js') },
  { path: /^\/sites\/import$/, nav: 'sites', title: 'sites.title', load: () => import('./siteimport.js') },
  { path: /^\/sites\/(?<id>\d+)$/, nav: 'sites', title: 'sites.title', load: () => import('./site.js') },
  { path: /^\/hosts\/(?<id>\d+)$/, nav: 'fleet', title: 'host.name', load: () => import('./host.js') },
  { path: /^\/fleet$/, may: 'see_hosts', nav: 'fleet', scope: true, title: 'fleet.title', load: () => import('./fleet.js') },
  { path: /^\/devices$/, may: 'see_hosts', nav: 'devices', scope: true, title: 'nav.devices', load: () => import('./devices.js') },
  { path: /^\/devices\/(?<id>\d+)$/, nav: 'devices', title: 'nav.devices', load: () => import('./device.js') },
  { path: /^\/links$/, may: 'see_hosts', nav: 'links', scope: true, title: 'nav.links', load: () => import('./links.js') },
  { path: /^\/links\/(?<id>\d+)$/, nav: 'links', title: 'nav.links', load: () => import('./link.js') },
  { path: /^\/register(\/(?<kind>rooms|staff|assets))?$/, nav: 'register', scope: true, title: 'register.title', load: () => import('./register.js') },
  { path: /^\/register\/(?<kind>rooms|staff|assets)\/(?<id>\d+)$/, nav: 'register', title: 'register.title', load: () => import('./item.js') },
  { path: /^\/assets\/(?<id>\d+)$/, nav: 'register', title: 'register.title', load: () => import('./item.js') },
  { path: /^\/register\/labels$/, nav: 'register', title: 'labels.title', load: () => import('./labels.js') },
  { path: /^\/register\/imports$/, nav: 'register', title: 'register.import.title', load: () => import('./imports.js') },
  { path: /^\/events$/, may: 'see_security_events', nav: 'events', scope: true, title: 'events.title', load: () => import('./events.js') },
  { path: /^\/enrol$/, may: 'manage_hosts', nav: 'enrol', title: 'enrol.title', load: () => import('./enrol.js') },
  { path: /^\/audit$/, may: 'see_audit', nav: 'audit', title: 'audit.title', load: () => import('./audit.js') },
  { path: /^\/users$/, may: 'see_accounts', nav: 'users', title: 'users.title', load: () => import('./users.js') },
  { path: /^\/users\/tokens$/, may: 'see_accounts', nav: 'users', title: 'users.tokens', load: () => import('./programs.js') },
  { path: /^\/me$/, nav: '', title: 'me.title', load: () => import('./me.js') },
  { path: /^\/settings$/, may: 'see_settings', nav: 'settings', title: 'nav.settings', load: () => import('./settings.js') },
  { path: /^\/login$/, open: true, title: 'login.title', load: () => import('./login.js') },
];

const SCREEN = { nav: 'overview', bare: true, title: 'screen.open', load: () => import('./screen.js') };
const MISSING = { nav: '', title: 'state.missing', load: () => import('./missing.js') };

/** The page at a path, with what the path says. */
export function pageFor(path, query) {
  if (path === '/' && query.get('wall') === '1') return { page: SCREEN, parameters: {}, key: 'wall' };
  for (const page of PAGES) {
    const match = page.path.exec(path);
    if (match) return { page, parameters: { ...match.groups }, key: path };
  }
  return { page: MISSING, parameters: {}, key: path };
}
