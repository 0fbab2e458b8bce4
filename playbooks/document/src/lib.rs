//! YAML documents that people write, read so that every problem is shown at once and in its place.
//!
//! A typed deserialiser stops at the first error. A person who wrote a configuration or a policy
//! wants all of them, each with file, line, column and what to do. So a document is first read into
//! a tree that knows its positions ([`Document`]), and then taken apart key by key ([`Section`]);
//! problems are collected ([`Problems`]) and nothing is used unless there are none.
//!
//! Anchors and aliases are refused: they make small files stand for huge ones and diffs lie.
//!
//! ```
//! use xiezhi_document::Document;
//! let document = Document::parse("agent.yaml", "interval: 15s\nspol: {max: 1MB}\n");
//! let (interval, problems) = document.read(|section| {
//!     section.duration("interval").map(|d| d.as_secs())
//! });
//! assert_eq!(interval, Some(15));
//! assert_eq!(
//!     problems.to_string(),
//!     "agent.yaml:2:1: unknown key `spol`; known here: interval\n",
//! );
//! ```

mod node;
mod problems;
mod scalar;
mod section;

pub use node::Document;
pub use problems::{Language, Problem, Problems, Said};
pub use section::Section;
