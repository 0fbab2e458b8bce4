// Texts of how the screens look. Loaded with the choice itself.
import { addTexts } from './i18n.js';

addTexts({
  'display.title': ['显示', 'Display'],
  'display.hint': ['只在这台电脑的浏览器里生效', 'For this browser only'],
  'display.language': ['语言', 'Language'],
  'display.theme': ['深浅', 'Light or dark'],
  'display.contrast': ['对比度', 'Contrast'],
  'display.system': ['跟随系统', 'As the system'],
  'display.light': ['浅色', 'Light'],
  'display.dark': ['深色', 'Dark'],
  'display.normal': ['普通', 'Normal'],
  'display.more': ['高对比', 'High'],
  'display.why': ['看不清小字或淡色时，选“高对比”。电脑设置了“减少动画”时，页面不放动画。', 'Choose high contrast if small or pale texts are hard to read. Nothing moves if the system asks for reduced motion.'],
});
