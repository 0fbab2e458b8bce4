// Line icons on a 20-pixel grid, drawn with the current colour. Decorative: text says the same.
import { html } from '../lib/html.js';

const PATHS = {
  overview: 'M3 3h6v6H3zM11 3h6v4h-6zM11 9h6v8h-6zM3 11h6v6H3z',
  sites: 'M10 2.500v4M10 6.500H4.500v3M10 6.500h5.500v3M2.500 9.500h4v4h-4zM8 9.500h4v4H8zM13.500 9.500h4v4h-4zM10 6.500v3M4.500 13.500v4M10 13.500v4M15.500 13.500v4',
  fleet: 'M3 4h14v9H3zM7 16.500h6M10 13v3.500',
  links: 'M3.500 6.500a3 3 0 1 1 0 7M16.500 6.500a3 3 0 1 0 0 7M6.500 10h7M5 10h.01M15 10h.01',
  devices: 'M3 6.500h14v7H3zM6 10h.01M9 10h.01M12 10h2.500M6 13.500v2M14 13.500v2M7 6.500V4M13 6.500V4',
  events: 'M10 2.500l6.500 2.500v4.500c0 4-2.700 6.700-6.500 8-3.800-1.300-6.500-4-6.500-8V5zM10 6.500v4M10 13v.5',
  users: 'M7.500 9.500a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2 16.500c0-3 2.500-4.800 5.500-4.800s5.500 1.800 5.500 4.800M13 3.800a3 3 0 0 1 0 5.500M15 12.200c1.900.700 3 2.200 3 4.300',
  enrol: 'M8.500 12.500a4 4 0 1 1 2.800-1.200l6.200 6.200h-3v-2h-2v-2h-1.500zM7.500 7.500h.01',
  audit: 'M5 2.500h7l3.500 3.500v11.500H5zM12 2.500V6h3.500M7.500 9.500h5.500M7.500 12.500h5.500',
  settings: 'M3 6h7M14 6h3M10 4v4h4V4zM3 14h3M10 14h7M6 12v4h4v-4z',
  search: 'M9 3.500a5.500 5.500 0 1 1 0 11 5.500 5.500 0 0 1 0-11zM13 13l4 4',
  moon: 'M16.500 12A7 7 0 0 1 8 3.500a7 7 0 1 0 8.500 8.500z',
  logout: 'M12 6V3.500H3.500v13H12V14M8 10h9M14 7l3 3-3 3',
  language: 'M10 2.500a7.500 7.500 0 1 1 0 15 7.500 7.500 0 0 1 0-15zM2.500 10h15M10 2.500c2.500 2.300 3.500 4.800 3.500 7.500s-1 5.200-3.500 7.500c-2.500-2.300-3.500-4.800-3.500-7.500s1-5.200 3.500-7.500z',
  chevron: 'M7.500 4.500L13 10l-5.500 5.500',
  up: 'M4.500 10.500l3.700 3.700 7.300-8',
  stale: 'M10 5.500V10l3 2M10 2.800a7.200 7.200 0 1 1 0 14.400 7.200 7.200 0 0 1 0-14.400z',
  down: 'M5 5l10 10M15 5L5 15',
  unknown: 'M7.300 7.300a2.800 2.800 0 1 1 4.200 2.500c-1 .600-1.500 1.200-1.500 2.400M10 15v.5',
  none: 'M5 10h10',
  gap: 'M3 10h3M14 10h3M8 6l-1 8M13 6l-1 8',
  copy: 'M7 7h9.500v9.500H7zM13 7V3.500H3.500V13H7',
  warning: 'M10 3l7.500 13.500h-15zM10 8v4M10 14v.5',
  refresh: 'M16.500 10a6.500 6.500 0 1 1-2-4.700M16.500 2.500v3.800h-3.800',
  link: 'M8.500 11.500l3-3M9 6l2-2a3.500 3.500 0 0 1 5 5l-2 2M11 14l-2 2a3.500 3.500 0 0 1-5-5l2-2',
  register: 'M4 2.500h12v15H4zM7 6.500h6M7 10h6M7 13.500h3.500',
  label: 'M3 3h6.500l7.500 7.500-6.500 6.500L3 9.500zM6.500 6.500h.01',
  print: 'M5.500 7V2.500h9V7M5.500 14H3V7h14v7h-2.500M5.500 11.500h9v6h-9z',
  bookmark: 'M5.500 2.500h9v15l-4.500-3.500-4.500 3.500z',
  more: 'M4.500 10h.01M10 10h.01M15.500 10h.01',
  person: 'M10 9.500a3.300 3.300 0 1 0 0-6.600 3.300 3.300 0 0 0 0 6.600zM3.500 17c.500-3.200 3-5 6.500-5s6 1.800 6.500 5',
  screen: 'M2.500 3.500h15v10h-15zM10 13.500v3M6.500 17h7',
  keyboard: 'M2 5h16v10H2zM5 8h.01M8 8h.01M11 8h.01M14 8h.01M6 12h8',
  sort: 'M6.500 8L10 4.500 13.500 8M6.500 12l3.500 3.500 3.500-3.500',
  ascending: 'M10 16V4.500M5.500 9L10 4.500 14.500 9',
  descending: 'M10 4v11.500M5.500 11l4.500 4.500 4.500-4.500',
};

export const iconPath = (name) => PATHS[name] || PATHS.none;

export const Icon = ({ name, size = 18 }) => html`
  <svg class="icon" width=${size} height=${size} viewBox="0 0 20 20" fill="none" stroke="currentColor"
    stroke-width="1.700" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
    <path d=${iconPath(name)} /></svg>`;

/** The beast of law, reduced to a shield, a horn and two lines. */
export const Mark = ({ size = 28 }) => html`
  <svg class="mark" width=${size} height=${size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
    <path class="mark-shield" d="M16 1.500 29 8v10.200c0 6-5.300 10.300-13 12.800C8.300 28.500 3 24.200 3 18.200V8z" />
    <path class="mark-line" d="M16 6.500v5.200M9.500 13.200c1.200 3.400 3.200 5.100 6.500 5.100s5.300-1.700 6.500-5.100M11.500 21.200c1.200 2.100 2.700 3.200 4.500 3.200s3.300-1.100 4.500-3.200" />
  </svg>`;
