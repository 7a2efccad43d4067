//! Bar charts as inline SVG: they need neither script nor font, and take their colours from the page.

use std::fmt::Write;

use super::escape;

/// Rows of one chart; what is left out is said.
const MOST: usize = 24;
/// Sizes in units of the drawing, which is scaled to the page.
const WIDTH: f64 = 440.0;
const NAME: f64 = 130.0;
const VALUE: f64 = 62.0;
const ROW: f64 = 22.0;

/// A bar.
pub struct Bar {
    /// What it is about.
    pub name: String,
    /// How long it is; may be negative.
    pub value: f64,
    /// The value as text.
    pub text: String,
    /// Its class in the style sheet, which colours it.
    pub class: &'static str,
}

/// A chart of bars. `mark`: a value with a line, and what the line means.
pub fn bars(title: &str, bars: &[Bar], mark: Option<(f64, &str)>) -> String {
    let shown = &bars[..bars.len().min(MOST)];
    let finite = || shown.iter().map(|bar| bar.value).filter(|v| v.is_finite());
    let (mut least, mut most) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    if let Some((at, _)) = mark {
        (least, most) = (least.min(at), most.max(at * 1.1));
    }
    let span = if most > least { most - least } else { 1.0 };
    let x = |value: f64| NAME + (value.clamp(least, most.max(least)) - least) / span * (WIDTH - NAME - VALUE);
    let top = if mark.is_some() { 18.0 } else { 2.0 };
    let height = top + ROW * shown.len() as f64 + 4.0;
    let mut out = format!(
        "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">",
        escape(title)
    );
    for (i, bar) in shown.iter().enumerate() {
        let (y, value) = (top + ROW * i as f64, if bar.value.is_finite() { bar.value } else { 0.0 });
        let (from, to) = (x(value.min(0.0)), x(value.max(0.0)));
        let _ = write!(
            out,
            "<g><title>{name}: {text}</title><text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\
             <rect class=\"bar {}\" x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" rx=\"2\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{}\">{text}</text></g>",
            NAME - 8.0,
            y + 15.0,
            escape(&cut(&bar.name, 19)),
            bar.class,
            y + 4.0,
            (to - from).max(1.5),
            ROW - 8.0,
            to + 6.0,
            y + 15.0,
            name = escape(&bar.name),
            text = escape(&bar.text),
        );
    }
    let _ = write!(out, "<line class=\"axis\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top}\" y2=\"{height}\"/>", x(0.0));
    if let Some((at, meaning)) = mark {
        let _ = write!(
            out,
            "<line class=\"mark\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{top}\" y2=\"{height}\"/><text class=\"marked\" x=\"{2:.1}\" y=\"12\">{1}</text>",
            x(at),
            escape(meaning),
            // In the middle over the line, and within the drawing.
            x(at).clamp(NAME, WIDTH - NAME / 2.0)
        );
    }
    out += "</svg>";
    if bars.len() > MOST {
        let _ = write!(out, "<p class=\"more\">and {} more</p>", bars.len() - MOST);
    }
    out + "</figure>"
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.into() } else { text.chars().take(most - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_holds_any_values_and_escapes_names() {
        let bar = |name: &str, value| Bar { name: name.into(), value, text: "1 < 2".into(), class: "low" };
        let all = [bar("<script>", 3.0), bar("b", -2.0), bar("c", f64::NAN), bar("d", f64::INFINITY)];
        let chart = bars("a & b", &all, Some((4.0, "bar")));
        assert!(chart.contains("&lt;script&gt;") && chart.contains("a &amp; b") && chart.contains("1 &lt; 2"));
        assert!(!chart.contains("NaN") && !chart.contains("inf\"") && !chart.contains("<script"), "{chart}");
        assert!(!bars("none", &[], None).contains("NaN"));
        let many: Vec<_> = (0..100).map(|i| bar("x", f64::from(i))).collect();
        assert!(bars("many", &many, None).contains("and 76 more"));
    }
}
