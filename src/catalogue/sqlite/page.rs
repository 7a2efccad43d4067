//! Cutting a listing into pages.

use super::super::{MAX_PAGE, Page};

pub(super) fn bounded(limit: usize) -> usize {
    limit.clamp(1, MAX_PAGE)
}

/// `rows` holds one row more than the page if there is one.
pub(super) fn page<T, C>(mut rows: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Page<T, C> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(cursor) } else { None };
    Page { rows, next }
}
