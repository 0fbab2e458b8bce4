//! A storage in memory and the interpreter of the test language.
