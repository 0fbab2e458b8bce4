// The vendored module's types are those of the package that it was taken from.
export * from 'preact';
