//! The quantum links on the console: their figures, and plots of them over time, drawn here.

use api::view::{LinkSample, LinkView};
use maud::{Markup, html};
use types::LinkId;
use types::limits::{MIN_SECRET_BPS, QBER_ABORT_PPM};
use types::mesh::{Delivery, LinkAlarm};

use super::history::History;
use super::scene::pair_name;
use super::section::{Row, Section, rows};

/// The size of a plot in its own units.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 30.0;

/// One plot: values over time, and the line that they must not cross.
struct Plot {
    what: &'static str,
    values: Vec<f64>,
    top: f64,
    line: f64,
}

fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.2} %", value * 100.0))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

pub(super) fn section(links: &[LinkView], all: usize, history: &History) -> Section {
    let content = html! {
        h2 { "Quantum links" }
        @if all > links.len() {
            p.dim {
                (links.len()) " of " (all) ", those first that give no quantum key; all of them: "
                code { "qecnet links list" }
            }
        }
        div.scroll role="region" aria-label="quantum links" tabindex="0" { table {
            thead { tr {
                th scope="col" { "Link" } th scope="col" { "protocol" } th.num scope="col" { "QBER" }
                th.num scope="col" { "bound" } th scope="col" { "last minutes" } th.num scope="col" { "S (bound)" }
                th scope="col" { "last minutes" } th.num scope="col" { "secret bit/s" } th scope="col" { "last minutes" }
                th.num scope="col" { "loss dB" } th.num scope="col" { "ε spent" } th.num scope="col" { "pool bits" }
                th scope="col" { "delivery" }
            } }
            tbody { (rows()) }
        } }
    };
    Section::new("links", true, &content, links.iter().map(|link| row(link, history)).collect())
}

fn row(link: &LinkView, history: &History) -> Row {
    let (brief, detail) = (&link.brief, &link.detail);
    let (name, id) = (pair_name(&brief.a, &brief.b), format!("link-{}~{}", brief.a, brief.b));
    let samples = LinkId::new(brief.a.clone(), brief.b.clone()).map(|link| history.of(&link)).unwrap_or_default();
    let bell = if detail.alarm == Some(LinkAlarm::Bell) { "bad" } else { "ok" };
    let element = html! {
        tr id=(id) {
            td { (name) }
            td { @match detail.protocol { Some(protocol) => (protocol), None => "–" } }
            td.num class=(qber_class(brief.qber)) { (percent(brief.qber)) }
            td.num.dim { (percent(brief.qber_upper)) }
            td { (plot(&error_rate(&samples), &name)) }
            td.num {
                @if detail.s.is_some() { span class=(bell) { (number(detail.s, 2)) " (" (number(detail.s_lower, 2)) ")" } }
                @else { "–" }
            }
            td { @if detail.s.is_some() { (plot(&violation(&samples), &name)) } }
            td.num { (brief.secret_bps) }
            td { (plot(&rate(&samples), &name)) }
            td.num.dim { (number(detail.loss_db, 1)) }
            td.num.dim { @match detail.epsilon { Some(epsilon) => (format!("{epsilon:.1e}")), None => "–" } }
            td.num { (brief.pool_bits) }
            td class=(if brief.delivery == Delivery::QkdKem { "ok" } else { "warn" }) {
                (brief.delivery) @if let Some(alarm) = detail.alarm { " · " (alarm) }
            }
        }
    };
    Row::new(id, element)
}

fn qber_class(qber: Option<f64>) -> &'static str {
    match qber {
        Some(qber) if qber * 1e6 >= f64::from(QBER_ABORT_PPM) => "bad",
        Some(_) => "ok",
        None => "dim",
    }
}

fn error_rate(samples: &[LinkSample]) -> Plot {
    let values = samples.iter().map(|sample| sample.qber).collect();
    Plot { what: "error rate", values, top: 0.25, line: f64::from(QBER_ABORT_PPM) / 1e6 }
}

fn violation(samples: &[LinkSample]) -> Plot {
    let values = samples.iter().filter_map(|sample| sample.s).collect();
    Plot { what: "S", values, top: 8_f64.sqrt(), line: 2.0 }
}

fn rate(samples: &[LinkSample]) -> Plot {
    let values: Vec<f64> = samples.iter().map(|sample| f64::from(sample.secret_bps)).collect();
    let line = f64::from(MIN_SECRET_BPS);
    let top = values.iter().copied().fold(2.0 * line, f64::max);
    Plot { what: "secret rate", values, top, line }
}

/// Values over time; beyond the dashed line a link gives no key.
fn plot(plot: &Plot, name: &str) -> Markup {
    let y = |value: f64| HEIGHT * (1.0 - (value / plot.top).clamp(0.0, 1.0));
    let step = WIDTH / plot.values.len().saturating_sub(1).max(1) as f64;
    let point = |(at, &value): (usize, &f64)| format!("{:.1},{:.1}", at as f64 * step, y(value));
    let points: Vec<String> = plot.values.iter().enumerate().map(point).collect();
    let line = format!("{:.1}", y(plot.line));
    html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
            aria-label=(format!("{} of {name}", plot.what)) {
            line x1="0" x2=(WIDTH) y1=(line) y2=(line) {}
            @if points.len() > 1 { polyline points=(points.join(" ")) {} }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Plot, plot};

    /// SM-06b: a plot has a point for each value, higher values higher up, and the line at its place.
    #[test]
    fn a_plot_draws_every_value() {
        let drawn =
            plot(&Plot { what: "S", values: vec![2.0, 2.5, 4.0], top: 4.0, line: 1.0 }, "n1 – n2").into_string();
        assert!(drawn.contains("0.0,15.0 60.0,11.2 120.0,0.0"), "{drawn}");
        assert!(drawn.contains(r#"y1="22.5""#) && drawn.contains("S of n1 – n2"), "{drawn}");
        let empty = plot(&Plot { what: "S", values: vec![], top: 4.0, line: 1.0 }, "n1 – n2").into_string();
        assert!(!empty.contains("polyline"));
    }
}
