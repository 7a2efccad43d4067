//! Which column is what: label, contributor, text, image, feature, or none of these.

use super::super::schema::{Schema, Type};
use super::Settings;
use super::layout::Layout;
use super::profile::Profile;
use super::space::{Slot, Space, Use};
use super::survey::{Columns, MAX_CONTRIBUTORS, MAX_LABELS, Place, Values, Wanted};
use super::view::View;
use crate::error::{Error, ErrorId, Result};

/// What columns with the label are called, where nobody names one.
const LABELS: [&str; 8] = ["label", "labels", "class", "target", "category", "y", "sentiment", "outcome"];
/// What files of samples are called that hold the label, beside those; and those that may hold a text as well.
const LABEL_FILES: [&str; 2] = ["cls", "cls2"];
const TEXT_FILES: [&str; 2] = ["txt", "text"];
/// What columns with the contributor are called, where nobody names one.
const CONTRIBUTORS: [&str; 8] =
    ["contributor", "contributor_id", "annotator", "annotator_id", "worker", "worker_id", "labeler", "supplier"];
/// What columns are called that number the records.
const IDS: [&str; 8] = ["id", "uuid", "guid", "index", "idx", "rowid", "row_id", "unnamed: 0"];
/// The share of distinct values from which on a column names its records. Distinct values are estimated, to some percent.
const NAMES: f64 = 0.9;
/// Fewer records than these tell nothing about that.
const ENOUGH: u64 = 50;

/// What a column is taken for, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Role {
    /// The column, or `column.member`.
    pub column: String,
    /// `label`, `contributor`, `text`, `image`, `pixel`, `feature` or `ignored`.
    pub role: &'static str,
    /// In plain words.
    pub why: String,
}

/// What the columns of a schema are called; lines of text are the one column of theirs.
pub(super) fn names(schema: &Schema) -> Vec<&str> {
    match schema {
        Schema::Lines => vec!["line"],
        _ => schema.columns().iter().map(|c| &*c.name).collect(),
    }
}

/// The columns that may be label and contributor: those that are asked for, or those whose names tell.
///
/// # Errors
/// `InvalidArgument` for a name that is no column, with a hint that names all columns.
pub(super) fn wanted(view: &View, settings: &Settings) -> Result<Wanted> {
    let (schema, label, by) = (view.schema(), settings.label.as_deref(), settings.by.as_deref());
    let labels = match view.layout().filter(|_| label.is_none()) {
        Some(layout) => may_be_labels(layout),
        None => one(schema, label, &LABELS)?.into_iter().collect(),
    };
    let contributor = match (&settings.attested, by) {
        // What was signed goes before what a name seems to say.
        (Some(_), None) => None,
        _ => one(schema, by, &CONTRIBUTORS)?,
    };
    let wanted = Wanted { labels, contributor };
    for text in &settings.text {
        let place = Some(find(schema, text)?);
        let is_label = label.is_some() && place.as_ref() == wanted.labels.first();
        if is_label || place == wanted.contributor {
            return Err(invalid(format!("column {text:?} is text, and label or contributor as well")));
        }
    }
    if wanted.contributor.is_some()
        && (label.is_some() || view.layout().is_none())
        && wanted.labels.first() == wanted.contributor.as_ref()
    {
        return Err(invalid(format!("label and contributor are one column: {:?}", label.or(by).unwrap_or_default())));
    }
    Ok(wanted)
}

/// Where samples may have their label: in a file that is named so, in a member of their JSON, in a short text, in a directory above them.
fn may_be_labels(layout: &Layout) -> Vec<Place> {
    let names = names(&layout.schema);
    let named = |known: &[&str]| -> Vec<Place> {
        let of = |known: &&str| names.iter().position(|name| name.eq_ignore_ascii_case(known));
        known.iter().filter_map(of).map(|column| Place { column, member: None }).collect()
    };
    let members = layout.documents().flat_map(|column| {
        LABELS.iter().chain(&LABEL_FILES).map(move |name| Place { column, member: Some((*name).into()) })
    });
    let directories = layout.directories().into_iter().map(|column| Place { column, member: None });
    let mut places = named(&LABEL_FILES);
    places.extend(named(&LABELS));
    places.extend(members);
    places.extend(named(&TEXT_FILES));
    places.extend(directories);
    places
}

fn one(schema: &Schema, asked: Option<&str>, known: &[&str]) -> Result<Option<Place>> {
    if let Some(name) = asked {
        return find(schema, name).map(Some);
    }
    let mut found = (0..).zip(names(schema)).filter(|(_, name)| known.contains(&&*name.to_ascii_lowercase()));
    Ok(match (found.next(), found.next()) {
        (Some((column, _)), None) => Some(Place { column, member: None }),
        _ => None,
    })
}

/// Why nobody knows which column is the label: several could be, and none was named.
pub(super) fn undecided_label(view: &View, space: &Space) -> Option<String> {
    if view.layout().is_some() || !space.labels.is_empty() {
        return None;
    }
    let names = names(view.schema());
    let several = names.iter().filter(|n| LABELS.contains(&&*n.to_ascii_lowercase())).count() > 1;
    several.then(|| no_label(view))
}

/// Why there is no label, and what to do about it.
pub(super) fn no_label(view: &View) -> String {
    let names = names(view.schema());
    if view.layout().is_some() {
        return format!(
            "no directory, and no .cls, .txt or .json of the samples tells classes; --label COLUMN names one of {}",
            shown(&names)
        );
    }
    let known: Vec<_> = names.into_iter().filter(|n| LABELS.contains(&&*n.to_ascii_lowercase())).collect();
    match &known[..] {
        [] => "no column is known to be the label; --label COLUMN names it".into(),
        [one] => {
            format!("the values of column {one:?} are too many for labels, or no classes; --label COLUMN names another")
        }
        several => format!("any of {} could be the label; --label COLUMN names it", several.join(", ")),
    }
}

fn find(schema: &Schema, name: &str) -> Result<Place> {
    let names = names(schema);
    if let Some(column) = names.iter().position(|n| *n == name) {
        return Ok(Place { column, member: None });
    }
    let nested = |column: &str| schema.columns().iter().position(|c| c.name == column && c.kind == Type::Any);
    if let Some((column, member)) = name.split_once('.')
        && let Some(column) = nested(column)
    {
        return Ok(Place { column, member: Some(member.into()) });
    }
    Err(invalid(format!("no column is named {name:?}")).hint(format!("its columns are: {}", shown(&names))))
}

fn shown(names: &[&str]) -> String {
    let mut told: Vec<_> = names.iter().take(20).map(|n| n.chars().take(60).collect::<String>()).collect();
    if names.len() > told.len() {
        told.push(format!("and {} more", names.len() - told.len()));
    }
    told.join(", ")
}

fn invalid(text: String) -> Error {
    Error::new(ErrorId::InvalidArgument, text)
}

/// Gives each column its role.
///
/// # Errors
/// `InvalidArgument`: a column that cannot be what it was asked to be.
pub(super) fn assign(view: &View, seen: &Columns, wanted: &Wanted, settings: &Settings) -> Result<Space> {
    let (schema, mut space) = (view.schema(), Space::default());
    let label = match view.layout().filter(|_| settings.label.is_none()) {
        Some(_) => first_of_classes(seen, wanted, &mut space),
        None => labels(seen, wanted, settings, &mut space)?,
    };
    let contributor = contributors(seen, wanted, settings, &mut space)?;
    let mut assigning = Assigning { view, settings, label, contributor, records: seen.records, space };
    let empty = super::survey::Seen::default();
    for (column, name) in names(schema).into_iter().enumerate() {
        let seen = seen.seen.get(column).unwrap_or(&empty);
        let own = assigning.role(name, &Place { column, member: None }, &seen.profile)?;
        if seen.members.is_empty() || seen.profile.nested * 2 < seen.profile.values {
            assigning.space.slots.push(Slot::One(own));
            continue;
        }
        // What was said about the column itself is said about its members.
        assigning.space.roles.pop();
        let mut slots = Vec::with_capacity(seen.members.len());
        for (member, profile) in &seen.members {
            let place = Place { column, member: Some(member.clone()) };
            slots.push((member.clone(), assigning.role(&format!("{name}.{member}"), &place, profile)?));
        }
        if seen.more {
            assigning.space.tell(name, "ignored", "its further members: too many");
        }
        assigning.space.slots.push(Slot::Members(slots));
    }
    assigning.space.find_grid(&names(schema), seen);
    Ok(assigning.space)
}

/// The first place that has more than one value, and few enough.
fn first_of_classes(seen: &Columns, wanted: &Wanted, space: &mut Space) -> Option<Place> {
    let fits = |values: &Values| {
        let count = values.counts.len() as u64;
        !values.over && count > 1 && count * 2 <= seen.records
    };
    let (place, values) = wanted.labels.iter().zip(&seen.labels).find(|(_, values)| fits(values))?;
    space.set_labels(values.in_order());
    Some(place.clone())
}

fn labels(seen: &Columns, wanted: &Wanted, settings: &Settings, space: &mut Space) -> Result<Option<Place>> {
    let Some(place) = wanted.labels.first() else { return Ok(None) };
    let none = Values::default();
    let values = seen.labels.first().unwrap_or(&none);
    let (count, too_many) = (values.counts.len(), values.over);
    if settings.label.is_some() {
        if too_many {
            let text = format!("the label has more than {MAX_LABELS} values");
            return Err(invalid(text).hint("a label is a class; --label COLUMN names the column that holds it"));
        }
        if count > 100 && count as u64 * 2 > seen.records {
            let text = format!("the label has {count} values in {} records", seen.records);
            return Err(invalid(text).hint("a label is a class; --label COLUMN names the column that holds it"));
        }
        if count == 0 && seen.records > 0 {
            return Err(invalid("no record has a value in the column of the label".into())
                .hint("--label COLUMN names the column that holds it"));
        }
    } else if too_many || count as u64 * 2 > seen.records.max(2) {
        return Ok(None);
    } else if let Some(profile) = seen.seen.get(place.column).map(|s| &s.profile)
        && profile.whole < profile.numbers
    {
        return Ok(None);
    }
    space.set_labels(values.in_order());
    Ok(Some(place.clone()))
}

fn contributors(seen: &Columns, wanted: &Wanted, settings: &Settings, space: &mut Space) -> Result<Option<Place>> {
    let Some(place) = &wanted.contributor else { return Ok(None) };
    if seen.contributors.over {
        if settings.by.is_some() {
            let text = format!("there are more than {MAX_CONTRIBUTORS} contributors");
            return Err(invalid(text).hint("--by COLUMN names the column that says who supplied a record"));
        }
        return Ok(None);
    }
    space.set_contributors(seen.contributors.in_order());
    Ok(Some(place.clone()))
}

struct Assigning<'a> {
    view: &'a View,
    settings: &'a Settings,
    label: Option<Place>,
    contributor: Option<Place>,
    records: u64,
    space: Space,
}

impl Assigning<'_> {
    fn role(&mut self, name: &str, place: &Place, profile: &Profile) -> Result<Use> {
        let asked = |is: bool, flag: &str| if is { flag.into() } else { "by its name".to_owned() };
        let (used, role, why) = if self.label.as_ref() == Some(place) {
            (Use::Label, "label", self.why_label(place))
        } else if self.contributor.as_ref() == Some(place) {
            (Use::Contributor, "contributor", asked(self.settings.by.is_some(), "--by"))
        } else if self.settings.text.iter().any(|text| text == name) {
            if profile.texts == 0 && self.records > 0 {
                return Err(invalid(format!("column {name:?} holds no text")).hint("--text COLUMN names one that does"));
            }
            (Use::Text, "text", "--text".into())
        } else if self.view.layout().is_some_and(|layout| layout.is_path(place.column)) {
            (Use::Name, "ignored", "it names the records".into())
        } else if self.view.layout().is_some_and(|layout| layout.is_directory(place.column)) {
            (Use::Ignored, "ignored", "a directory that is not the label; --label or --by names it".into())
        } else if profile.values > 0
            && profile.images * 2 <= profile.values
            && self.view.layout().is_some_and(|layout| place.member.is_none() && layout.is_image(place.column))
        {
            (Use::Unread, "ignored", "images that are neither PNG nor JPEG".into())
        } else {
            self.guess(name, profile)
        };
        self.space.tell(name, role, &why);
        Ok(match used {
            Use::Feature(_) => self.space.feature(name, false),
            Use::NumericText(_) => self.space.feature(name, true),
            used => used,
        })
    }

    fn why_label(&self, place: &Place) -> String {
        let directory = self.view.layout().is_some_and(|layout| layout.is_directory(place.column));
        match self.settings.label {
            Some(_) => "--label".into(),
            None if directory => "the last directory above the records that has more than one name".into(),
            None => "by its name".into(),
        }
    }

    fn guess(&self, name: &str, profile: &Profile) -> (Use, &'static str, String) {
        let ignored = |why: &str| (Use::Ignored, "ignored", why.to_owned());
        let (values, distinct) = (profile.values, profile.distinct());
        let share = distinct as f64 / values.max(1) as f64;
        let mostly = |some: u64| some * 2 > values;
        let unique = values >= ENOUGH && share >= NAMES;
        let words = profile.mean_words();
        let numeric = profile.numeric_texts * 10 >= profile.texts * 9;
        // Where texts are named, nothing else is text.
        let may_be_text = self.settings.text.is_empty() && !numeric;
        match () {
            () if values == 0 => ignored("it has no value"),
            () if mostly(profile.images) => (Use::Image, "image", "PNG or JPEG".into()),
            () if mostly(profile.nested) => ignored("lists, or objects nested deeper"),
            () if mostly(profile.bytes) => ignored("bytes that are no image"),
            () if *self.view.schema() == Schema::Lines => (Use::Text, "text", "lines of text".into()),
            () if mostly(profile.texts) && may_be_text && words >= 3.0 && share >= 0.2 => {
                (Use::Text, "text", format!("{words:.0} words on average, about {distinct} of {values} distinct"))
            }
            () if unique && mostly(profile.texts) && !numeric => ignored("nearly all distinct: it names the records"),
            () if unique && IDS.contains(&&*name.to_ascii_lowercase()) => ignored("it numbers the records"),
            () if values >= ENOUGH && mostly(profile.whole) && profile.rising => ignored("it counts the records up"),
            () if distinct <= 1 && self.records > 1 && values == self.records => ignored("one value in all records"),
            () if mostly(profile.texts) && numeric => (Use::NumericText(0), "feature", "numbers, as text".into()),
            () if mostly(profile.numbers) => (Use::Feature(0), "feature", "numbers".into()),
            () => (Use::Feature(0), "feature", format!("categories, about {distinct}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::Column;
    use super::super::super::value::Encoder;
    use super::*;

    type Write<'a> = &'a dyn Fn(&mut Encoder, u32);

    /// A table of 200 records whose columns are written by functions.
    fn space(columns: &[(&str, Write<'_>)], settings: &Settings) -> Result<Space> {
        let mut columns = columns.to_vec();
        columns.sort_by_key(|c| c.0);
        let all = columns.iter().map(|c| Column { name: c.0.into(), kind: Type::Any }).collect();
        let schema = Schema::table(all)?;
        let view = View::Table(schema);
        let wanted = wanted(&view, settings)?;
        let (mut seen, mut record) = (Columns::default(), Encoder::default());
        for i in 0..200 {
            record.clear();
            columns.iter().for_each(|(_, write)| write(&mut record, i));
            seen.see(record.record(), &wanted);
        }
        assign(&view, &seen, &wanted, settings)
    }

    fn roles(columns: &[(&str, Write<'_>)]) -> Vec<&'static str> {
        space(columns, &Settings::default()).unwrap().roles.iter().map(|r| r.role).collect()
    }

    const CLASS: Write<'_> = &|r, i| r.int((i % 3).into());

    #[test]
    fn columns_are_told_by_their_values() {
        let columns: [(&str, Write<'_>); 12] = [
            ("text", &|r, i| r.text(&format!("a text of several words, number {i}"))),
            ("feature", &|r, i| r.text(["never worked before", "works for the state"][i as usize % 2])),
            ("feature", &|r, i| r.text(["red", "green"][i as usize % 2])),
            ("feature", &|r, i| r.text(&format!("{}.5", i % 50))),
            ("feature", &|r, i| r.float(f64::from(i * 7919 % 200) / 3.0)),
            ("feature", &|r, i| r.bool(i % 2 == 0)),
            ("ignored", &|r, i| r.int((i + 1000).into())),
            ("ignored", &|r, i| r.text(&format!("img_{i}.png"))),
            ("ignored", &|r, _| r.text("the same")),
            ("ignored", &|r, _| r.null()),
            ("ignored", &|r, _| r.bytes(b"bytes")),
            ("image", &|r, _| r.bytes(b"\x89PNG\r\n\x1a\n...")),
        ];
        for (expected, write) in columns {
            let found = space(&[("c", write), ("label", CLASS)], &Settings::default()).unwrap();
            assert_eq!(found.roles[0].role, expected, "{:?}", found.roles);
            assert_eq!(found.roles[1].role, "label");
        }
    }

    #[test]
    fn names_tell_label_and_contributor_where_one_does() {
        assert_eq!(roles(&[("Class", CLASS), ("worker", CLASS)]), ["label", "contributor"]);
        assert_eq!(roles(&[("class", CLASS), ("target", CLASS)]), ["feature", "feature"]);
        let measured: Write<'_> = &|r, i| r.float(f64::from(i) / 7.0);
        assert_eq!(roles(&[("target", measured)]), ["feature"], "a number to be predicted is no label");
        let asked = Settings { label: Some("target".into()), ..Settings::default() };
        let found = space(&[("class", CLASS), ("target", CLASS)], &asked).unwrap();
        assert_eq!(found.labels.iter().map(|l| l.1).collect::<Vec<_>>(), [67, 67, 66]);
    }

    #[test]
    fn columns_that_are_pixels_make_an_image() {
        let names: Vec<_> = (0..64).map(|i| format!("pixel{i}")).collect();
        let grey: Write<'_> = &|r, i| r.int((i * 31 % 17).into());
        let mut columns: Vec<(&str, Write<'_>)> = names.iter().map(|n| (&**n, grey)).collect();
        // The same in all images.
        columns[5].1 = &|r, _| r.int(0);
        columns.push(("label", CLASS));
        let found = space(&columns, &Settings::default()).unwrap();
        assert_eq!((found.features.len(), found.grid.map(|g| g.side)), (0, Some(8)));
        // In the order of their numbers, not of their names.
        let at = |name: &str| found.roles.iter().position(|r| r.column == name).unwrap();
        assert_eq!(found.slots[at("pixel2")], Slot::One(Use::Pixel(2)));
        assert_eq!(found.slots[at("pixel10")], Slot::One(Use::Pixel(10)));
        columns.push(("age", grey));
        assert_eq!(space(&columns, &Settings::default()).unwrap().grid, None);
    }

    #[test]
    fn members_of_objects_are_columns() {
        let nested: Write<'_> = &|r, i| {
            let outcome = r.structure(|r| {
                r.text("a");
                r.int((i % 9).into());
                r.text("y");
                r.int((i % 2).into());
                Ok::<_, ()>(())
            });
            outcome.unwrap();
        };
        let asked = Settings { label: Some("o.y".into()), ..Settings::default() };
        let found = space(&[("o", nested)], &asked).unwrap();
        assert_eq!(
            found.roles.iter().map(|r| (&*r.column, r.role)).collect::<Vec<_>>(),
            [("o.a", "feature"), ("o.y", "label")]
        );
        assert_eq!((found.features, found.labels.len()), (vec!["o.a".to_owned()], 2));
        let error = space(&[("o", nested)], &Settings { label: Some("p.y".into()), ..asked }).unwrap_err();
        assert_eq!(error.hint_text(), Some("its columns are: o"));
    }
}
