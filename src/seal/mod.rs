//! The sealed format of docs/format.md: writer, reader, range arithmetic, rewrap.

pub mod io;
