// Every page, one line each: the shape of its address, its module, and where it hangs in the
// navigation. A page's code is fetched when the page is first opened.

const PAGES = [
  { path: /^\/$/, nav: 'overview', title: 'nav.overview', load: () => import('./overview.js') },
  { path: /^\/sites$/, nav: 'sites', title: 'sites.title', load: () => import('./sites.js') },
  { path: /^\/sites\/(?<id>\d+)$/, nav: 'sites', title: 'sites.title', load: () => import('./site.js') },
  { path: /^\/hosts\/(?<id>\d+)$/, nav: 'fleet', title: 'host.name', load: () => import('./host.js') },
  { path: /^\/fleet$/, nav: 'fleet', title: 'fleet.title', load: () => import('./fleet.js') },
  { path: /^\/events$/, nav: 'events', title: 'events.title', load: () => import('./events.js') },
  { path: /^\/enrol$/, nav: 'enrol', title: 'enrol.title', load: () => import('./enrol.js') },
  { path: /^\/audit$/, nav: 'audit', title: 'audit.title', load: () => import('./audit.js') },
  { path: /^\/users$/, nav: 'users', title: 'users.title', load: () => import('./users.js') },
  { path: /^\/me$/, nav: '', title: 'me.title', load: () => import('./me.js') },
  { path: /^\/settings$/, nav: 'settings', title: 'nav.settings', load: () => import('./settings.js') },
  { path: /^\/login$/, open: true, title: 'login.title', load: () => import('./login.js') },
];

const MISSING = { nav: '', title: 'state.missing', load: () => import('./missing.js') };

/** The page at a path, with what the path says. */
export function pageFor(path) {
  for (const page of PAGES) {
    const match = page.path.exec(path);
    if (match) return { page, parameters: { ...match.groups }, key: path };
  }
  return { page: MISSING, parameters: {}, key: path };
}
