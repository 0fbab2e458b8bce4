// Words for files that are saved from a page or sent by one. Loaded with the buttons for it.
import { addTexts } from './i18n.js';

addTexts({
  'file.choose': ['选择文件', 'Choose a file'],
  'file.none': ['还没有选；也可以把文件拖到这里', 'None chosen; you may drop one here'],
  'export.xlsx': ['导出表格', 'Export Excel'],
  'export.csv': ['导出 CSV', 'Export CSV'],
  'export.busy': ['正在导出…', 'Exporting…'],
  'export.done': ['已导出 {n} 行。', '{n} rows exported.'],
  'export.parts': ['导入一次最多 {n} 行，要导回请分开导出。', ' An import takes {n} rows at a time: export parts to read them back.'],
  'export.cut': ['文件没有传完，没有保存。请再试一次。', 'The file did not come whole and was not saved: try again.'],
  'problem.too_many_exports': ['这个账号正在导出的文件已够多，请等其中一个导完。', 'This account exports enough files already: wait for one of them.'],
  'problem.too_many_rows': ['Excel 文件最多 20000 行。请先筛选，或导出 CSV。', 'An Excel file has 20,000 rows at most: narrow the list, or export CSV.'],
  'problem.too_slow': ['文件传得太慢，没有收完。请换好一点的线路，或拆成几个文件再传。', 'The file came too slowly and was not taken: use a better line, or split it.'],
  'problem.too_many_uploads': ['这个账号正在上传的文件已够多，请等其中一个传完。', 'This account sends enough files already: wait for one of them.'],
  'problem.crowded_out': ['上传的人太多，这个文件没有收完。请稍后再传，或拆成几个文件。', 'Many send files just now and this one was not taken: send it again later, or split it.'],
});
