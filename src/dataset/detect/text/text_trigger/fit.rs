//! Learns what words say of labels: the regression of [`super::expect`].

use crate::dataset::detect::text::tokens::mix;

/// A record is scored by the model that did not see its fold.
pub const FOLDS: usize = 4;
/// Times each record is learned from.
const EPOCHS: u32 = 5;
/// The step of the regression and what weights lose in each (tuned on none: the usual ones).
const RATE: f32 = 0.5;
const SHRINK: f32 = 2e-5;

/// What one of so many words counts.
#[must_use]
pub fn unit(words: usize) -> f32 {
    1.0 / (words.max(1) as f32).sqrt()
}

/// The fold a record is in.
#[must_use]
pub fn fold(record: u32) -> usize {
    usize::try_from(mix(u64::from(record), 11) % FOLDS as u64).unwrap_or(0)
}

/// Softmax regression by AdaGrad (Duchi, Hazan and Singer 2011) on all texts but those of fold `out`, shuffled anew
/// for each epoch, every word left out half the time: the rest of a text must learn to speak for itself, or strong
/// words would explain away all others (dropout as regularisation: Wager, Wang and Liang 2013).
/// `weights`: labels a bucket, the bias last.
pub fn fit(weights: &mut [f32], labels: usize, sample: &[u32], texts: &[(usize, u32, u32)], out: usize) {
    let mut squares = vec![1e-3_f32; weights.len()];
    let starts = std::iter::once(0).chain(texts.iter().map(|text| text.0));
    let mut order: Vec<(usize, usize, u32)> = starts
        .zip(texts)
        .filter(|(_, text)| fold(text.2) != out)
        .map(|(start, text)| (start, text.0, text.1))
        .collect();
    let bias = weights.len() - labels;
    let mut coin = Coin(mix(out as u64, 3) | 1);
    let (mut slopes, mut kept) = (vec![0.0_f32; labels], Vec::new());
    for _ in 0..EPOCHS {
        for at in (1..order.len()).rev() {
            order.swap(at, coin.below(at + 1));
        }
        for &(from, end, label) in &order {
            kept.clear();
            for words in sample.get(from..end).unwrap_or_default().chunks(64) {
                let toss = coin.toss();
                kept.extend(
                    words
                        .iter()
                        .enumerate()
                        .filter(|(at, _)| toss >> at & 1 == 0)
                        .map(|(_, &word)| word as usize * labels),
                );
            }
            let unit = unit(kept.len());
            slopes.copy_from_slice(weights.get(bias..).unwrap_or_default());
            for &word in &kept {
                for (slope, weight) in slopes.iter_mut().zip(weights.get(word..).unwrap_or_default()) {
                    *slope += weight * unit;
                }
            }
            softmax(&mut slopes);
            if let Some(own) = slopes.get_mut(label as usize) {
                *own -= 1.0;
            }
            let mut step = |from: usize, unit: f32| {
                let places = weights.iter_mut().skip(from).zip(squares.iter_mut().skip(from));
                for ((weight, square), slope) in places.zip(&slopes) {
                    let slope = slope * unit + SHRINK * *weight;
                    *square += slope * slope;
                    *weight -= RATE * slope / square.sqrt();
                }
            };
            for &word in &kept {
                step(word, unit);
            }
            step(bias, 0.3);
        }
    }
}

/// Xorshift.
struct Coin(u64);

impl Coin {
    fn toss(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from((self.toss() >> 8) % most.max(1) as u64).unwrap_or(0)
    }
}

fn softmax(scores: &mut [f32]) {
    let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - top).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_which_word_goes_with_which_label() {
        let (mut sample, mut texts) = (Vec::new(), Vec::new());
        for record in 0..400_u32 {
            let label = record % 2;
            sample.extend_from_slice(&[label, 2 + record % 5]);
            texts.push((sample.len(), label, record));
        }
        let mut weights = vec![0.0; 2 * (8 + 1)];
        fit(&mut weights, 2, &sample, &texts, 0);
        assert!(weights[0] > weights[1] + 1.0 && weights[3] > weights[2] + 1.0);
        assert!((weights[4] - weights[5]).abs() < 1.0);
    }
}
