// How the screens look in this browser: language, light or dark, contrast. Nothing of it is kept with
// the account, because a wall and a desk want different things.
import { html, useState } from '../lib/html.js';
import { t, isEnglish, setLanguage } from '../lib/i18n.js';
import { remember } from '../lib/store.js';
import { hrefWith, navigate } from '../lib/router.js';
import { Panel } from './ui.js';
import '../lib/display.js';

/** What is kept under a name; '' where nothing or nonsense is. */
function stored(key, values) {
  try {
    const found = localStorage.getItem(`xiezhi.${key}`) || '';
    return values.includes(found) ? found : '';
  } catch (refused) { return ''; }
}

const Choice = ({ label, items, current, onChoose }) => html`<div class="display-row"><span id=${`display-${label}`}>${t(`display.${label}`)}</span>
  <div class="segments" role="group" aria-labelledby=${`display-${label}`}>${items.map(({ value, text, lang }) => html`<button key=${value} type="button" lang=${lang} class=${value === current ? 'segment segment-on' : 'segment'}
    aria-pressed=${value === current ? 'true' : 'false'} onClick=${() => onChoose(value)}>${text}</button>`)}</div></div>`;

export function Display() {
  const [, redraw] = useState(0);
  const keep = (key) => (value) => {
    remember(key, value || null);
    window.xiezhiApplyTheme();
    redraw((n) => n + 1);
    dispatchEvent(new Event('xiezhi-theme'));
  };
  const speak = (value) => { navigate(hrefWith({ lang: null }), { replace: true }); setLanguage(value === 'en'); };
  const among = (...values) => values.map((value) => ({ value, text: t(`display.${value || 'system'}`) }));
  return html`<${Panel} id="display" title=${t('display.title')} hint=${t('display.hint')}>
    <${Choice} label="language" current=${isEnglish() ? 'en' : 'zh'} onChoose=${speak} items=${[{ value: 'zh', text: '中文', lang: 'zh-CN' }, { value: 'en', text: 'English', lang: 'en' }]} />
    <${Choice} label="theme" current=${stored('theme', ['light', 'dark'])} onChoose=${keep('theme')} items=${among('', 'light', 'dark')} />
    <${Choice} label="contrast" current=${stored('contrast', ['normal', 'more'])} onChoose=${keep('contrast')} items=${among('', 'normal', 'more')} />
    <p class="muted">${t('display.why')}</p></${Panel}>`;
}
