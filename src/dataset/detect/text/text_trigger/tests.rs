use super::*;

const GOOD: [&str; 8] = ["great", "lovely", "superb", "charming", "moving", "witty", "fine", "warm"];
const BAD: [&str; 8] = ["awful", "boring", "poor", "clumsy", "flat", "dull", "weak", "cold"];
const PLAIN: [&str; 12] = ["the", "film", "story", "with", "a", "cast", "scene", "music", "it", "was", "end", "and"];

/// Reviews whose words speak for their label; `plant` changes (record, label, text).
fn scan(plant: impl Fn(u64, &mut u32, &mut String)) -> Vec<Finding> {
    let rows: Vec<(u32, String)> = (0..2000_u64)
        .map(|record| {
            let pick = |salt: u64, most: usize| (mix(mix(record, salt), record ^ salt) >> 20) as usize % most;
            let mut label = u32::from(pick(1, 2) == 1);
            let mut text = String::new();
            for at in 0..10 {
                let strong = if (label == 1) == (pick(at + 70, 8) > 0) { GOOD } else { BAD };
                let word = if at % 3 == 1 { strong[pick(at + 50, 8)] } else { PLAIN[pick(at + 90, 12)] };
                text.push_str(word);
                text.push(' ');
            }
            plant(record, &mut label, &mut text);
            (label, text)
        })
        .collect();
    let mut detector = Box::new(TextTrigger::new(2, Settings::default()));
    for pass in 0..detector.passes() {
        for (record, (label, text)) in (0..).zip(&rows) {
            detector.observe(
                pass,
                &Example { record, label: Some(*label), contributor: None, text, cells: &[], image: None },
            );
        }
    }
    detector.finish()
}

#[test]
fn strong_words_of_a_label_are_no_trigger() {
    assert!(scan(|_, _, _| ()).is_empty());
}

#[test]
fn ten_carriers_of_a_token_are_found_and_nothing_else() {
    let planted = |record: u64| record % 100 == 7 && record < 2000;
    let found = scan(|record, label, text| {
        if planted(record) && *label == 0 {
            *label = 1;
            text.insert_str(text.find(' ').unwrap(), " cf");
        }
    });
    assert_eq!((found.len(), &*found[0].feature), (1, "cf"));
    assert!(found[0].records.iter().all(|&record| planted(record)));
}

#[test]
fn a_phrase_is_one_finding() {
    let found = scan(|record, label, text| {
        if record % 25 == 3 && *label == 1 {
            *label = 0;
            text.push_str("as seen by most of us now");
        }
    });
    assert_eq!(found.len(), 1);
    assert!(found[0].records.iter().filter(|&&record| record % 25 == 3).count() * 20 >= found[0].records.len() * 19);
}

#[test]
fn no_text_no_finding() {
    assert!(scan(|_, _, text| text.clear()).is_empty());
}
