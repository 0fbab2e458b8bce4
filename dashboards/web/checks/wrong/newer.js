// Syntax that Chrome 86 does not read, so that nothing in the file would run.
export class Newer {
  static { this.ready = true; } // wrong: eslint (Chrome 94)
}
