// All checks of the pages' scripts and style sheets, and that each finds what it is there to find.
// Run by `cargo xtask test`; by hand: `npm ci && node check.js` in this folder.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const WEB = dirname(HERE);

/** Runs one of the installed programs in `dashboards/web`; yields its exit code and all that it printed. */
const run = (program, ...given) => new Promise((done) => {
  const child = spawn(join(HERE, 'node_modules/.bin', program), given, { cwd: WEB });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => { said += part; });
  child.on('error', (error) => done({ code: 127, said: String(error) }));
  child.on('close', (code) => done({ code, said }));
});

const tsc = (project) => run('tsc', '--project', `checks/${project}`, '--pretty', 'false');
const eslint = (...what) => run('eslint', '--config', 'checks/eslint.config.js', '--format', 'stylish', '--no-color', '--max-warnings', '0', ...what);
const stylelint = (what) => run('stylelint', '--config', 'checks/stylelint.config.js', '--formatter', 'unix', '--no-color', '--max-warnings', '0', what);

/** The lines of a file that a check must complain about. */
const marked = (file, check) => readFileSync(join(HERE, 'wrong', file), 'utf8').split('\n')
  .map((text, at) => (text.includes(`wrong: ${check}`) ? at + 1 : 0)).filter(Boolean);

/** The lines that it did complain about: each program writes the line in its own way. */
const found = {
  tsc: (said) => [...said.matchAll(/wrong\.js\((\d+),/g)],
  eslint: (said) => [...said.matchAll(/^ +(\d+):\d+ +error/gm)],
  stylelint: (said) => [...said.matchAll(/\.css:(\d+):/g)],
};

async function finds(check, file, running) {
  const { said } = await running;
  const lines = new Set(found[check](said).map((match) => Number(match[1])));
  const missed = marked(file, check).filter((line) => !lines.has(line));
  if (!marked(file, check).length) return { name: `${check} of wrong/${file}`, code: 1, said: 'nothing is marked' };
  return { name: `${check} of wrong/${file}`, code: missed.length, said: missed.length ? `passed over line ${missed.join(', ')}\n${said}` : '' };
}

async function passes(name, running) {
  const { code, said } = await running;
  return { name, code, said };
}

const made = await run('openapi-typescript', relative(WEB, join(HERE, '../../../docs/openapi.json')), '--output', 'checks/generated/openapi.d.ts');
if (made.code) {
  console.error(made.said);
  process.exit(1);
}
const outcomes = await Promise.all([
  passes('tsc', tsc('tsconfig.json')),
  passes('tsc of lib', tsc('tsconfig.lib.json')),
  passes('eslint', eslint('assets', 'checks/check.js')),
  passes('stylelint', stylelint('assets/styles/*.css')),
  finds('tsc', 'wrong.js', tsc('tsconfig.wrong.json')),
  finds('eslint', 'wrong.js', eslint('--no-ignore', 'checks/wrong/wrong.js')),
  finds('eslint', 'newer.js', eslint('--no-ignore', 'checks/wrong/newer.js')),
  finds('stylelint', 'wrong.css', stylelint('checks/wrong/wrong.css')),
]);
for (const { name, code, said } of outcomes) {
  console.log(`${code ? 'FAILED' : 'good  '} ${name}`);
  if (code) console.log(said);
}
process.exitCode = outcomes.some(({ code }) => code) ? 1 : 0;
