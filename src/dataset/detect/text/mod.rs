//! Detectors that look at text.
//!
//! | file | what |
//! |---|---|
//! | `tokens` | words, odd spellings and n-grams of a text |
//! | `text_trigger`, `count_filter` | words and phrases whose records have a label that their other words do not speak for |
//! | `burst` | new words, against a baseline |
//! | `near_duplicate`, `conflicts` | texts that are nearly the same, under different labels |
//! | `rules` | named rules: hidden characters, instructions, secrets, personal data |

pub mod burst;
mod conflicts;
mod count_filter;
pub mod near_duplicate;
pub mod rules;
pub mod text_trigger;
pub mod tokens;
