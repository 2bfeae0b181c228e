//! The table of what was measured, as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    answer::{Answer, Target},
    runtime::Runtime,
};

const COLUMNS: [&str; 10] = [
    "runtime",
    "version",
    "no_new_privs",
    "way",
    "request",
    "given",
    "call",
    "argument",
    "outcomes",
    "effect",
];
const VERSION: usize = 1;
/// The columns that may list several values, in the order in which rows are made one.
const LISTS: [usize; 4] = [4, 3, VERSION, 2];

/// The effect of a call that isn't made.
const NOT_MADE: &str = "not made";

/// A line: one measurement, or several that came to the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    /// The cells but outcomes and effect.
    cells: [String; 8],
    /// The answers; none where the call isn't made.
    outcomes: Outcomes,
    /// What came of them.
    effect: String,
}

/// Some answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Outcomes(Vec<Answer>);

impl Outcomes {
    fn render(&self) -> String {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for answer in &self.0 {
            let &Answer::Errno(errno) = answer else { continue };
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == errno => *last = errno,
                _ => ranges.push((errno, errno)),
            }
        }
        let range =
            |(first, last)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
        let ranges: Vec<String> = ranges.into_iter().map(range).collect();
        let mut words = Vec::new();
        if !ranges.is_empty() {
            words.push(format!("ERRNO {}", ranges.join(",")));
        }
        words.extend(
            self.0.iter().filter(|answer| !matches!(answer, Answer::Errno(_))).map(ToString::to_string),
        );
        if words.is_empty() { "-".to_owned() } else { words.join(" ") }
    }

    fn parse(text: &str) -> Result<Self> {
        let mut all = Vec::new();
        let mut words = text.split(' ').filter(|word| *word != "-");
        while let Some(word) = words.next() {
            if word == "ERRNO" {
                for range in words.next().context("no errno")?.split(',') {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    let (first, last): (u16, u16) = (first.parse()?, last.parse()?);
                    all.extend((first..=last).map(Answer::Errno));
                }
            } else {
                let action = Answer::ACTIONS.iter().find(|(_, name)| *name == word);
                all.push(action.with_context(|| format!("{word:?} is no answer"))?.0);
            }
        }
        all.sort_unstable();
        Ok(Self(all))
    }
}

/// Where something was measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The runtime's name.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// Whether the container could get no privileges by `execve`.
    pub no_new_privs: bool,
    /// `start` or `exec`.
    pub way: String,
    /// What the container asked for.
    pub request: String,
    /// The answer under which this was the second one; `-` for none.
    pub given: String,
    /// The call.
    pub target: Target,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runtime, version, no_new_privs, way, request, given, target } = self;
        write!(f, "{runtime} {version} no_new_privs={no_new_privs} {request} {way} {target}")?;
        if given == "-" { Ok(()) } else { write!(f, " after {given}") }
    }
}

impl Place {
    fn cells(&self) -> [String; 8] {
        [
            self.runtime.clone(),
            self.version.clone(),
            self.no_new_privs.to_string(),
            self.way.clone(),
            self.request.clone(),
            self.given.clone(),
            self.target.call.clone(),
            self.target.argument(),
        ]
    }

    fn of(
        [runtime, version, no_new_privs, way, request, given, call, argument]: &[String; 8],
    ) -> Result<Self> {
        Ok(Self {
            runtime: runtime.clone(),
            version: version.clone(),
            no_new_privs: no_new_privs.parse()?,
            way: way.clone(),
            request: request.clone(),
            given: given.clone(),
            target: Target::parse(call, argument)?,
        })
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<Place, Measured>);

/// What was measured at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measured {
    /// The call isn't made there.
    NotMade,
    /// What came of each answer.
    Effects(BTreeMap<Answer, String>),
}

impl Table {
    /// Notes what came of an answer.
    pub fn note(&mut self, place: Place, answer: Answer, effect: String) {
        let measured = self.0.entry(place).or_insert_with(|| Measured::Effects(BTreeMap::new()));
        if let Measured::Effects(effects) = measured {
            effects.insert(answer, effect);
        }
    }

    /// Notes that a call isn't made.
    pub fn note_not_made(&mut self, place: Place) {
        self.0.insert(place, Measured::NotMade);
    }

    /// Adds what else was measured of the same runtime.
    pub fn add(&mut self, other: Self) {
        for (place, measured) in other.0 {
            match measured {
                Measured::NotMade => self.note_not_made(place),
                Measured::Effects(effects) => {
                    for (answer, effect) in effects {
                        self.note(place.clone(), answer, effect);
                    }
                }
            }
        }
    }

    /// What was measured at a place.
    #[must_use]
    pub fn at(&self, place: &Place) -> Option<&Measured> {
        self.0.get(place)
    }

    /// Whether a runtime's version was measured.
    #[must_use]
    pub fn has(&self, runtime: &Runtime) -> bool {
        self.0.keys().any(|place| place.runtime == runtime.name.as_str() && place.version == runtime.version)
    }

    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &Measured)> {
        self.0.iter()
    }

    /// Takes what another table has of a runtime's version, or of some calls of it, instead of what this one has.
    pub fn replace(&mut self, other: Self, calls: &[String]) {
        let fresh: BTreeSet<(String, String)> =
            other.0.keys().map(|place| (place.runtime.clone(), place.version.clone())).collect();
        self.0.retain(|place, _| {
            let old = fresh.contains(&(place.runtime.clone(), place.version.clone()));
            let all = calls.is_empty();
            // Nothing is measured anew after another answer where only some calls are.
            let measured = all || (place.given == "-" && calls.contains(&place.target.call));
            !(old && measured)
        });
        self.0.extend(other.0);
    }

    /// Reads a table.
    ///
    /// # Errors
    /// Where a line is none of one.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
        ensure!(header == COLUMNS, "the columns are not {}", COLUMNS.join(", "));
        let mut table = Self::default();
        for line in lines {
            table.parse_line(line).with_context(|| format!("the line {line:?}"))?;
        }
        Ok(table)
    }

    fn parse_line(&mut self, line: &str) -> Result<()> {
        let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let Ok([cells @ .., outcomes, effect]) = <[String; 10]>::try_from(cells) else {
            bail!("it has not {} cells", COLUMNS.len());
        };
        let outcomes = Outcomes::parse(&outcomes)?;
        for cells in expanded(cells) {
            let place = Place::of(&cells)?;
            if effect == NOT_MADE {
                self.note_not_made(place);
                continue;
            }
            for &answer in &outcomes.0 {
                self.note(place.clone(), answer, effect.clone());
            }
        }
        Ok(())
    }

    /// The table's lines, with as few rows as say it all.
    #[must_use]
    pub fn render(&self) -> String {
        let mut rows: Vec<Row> = self.0.iter().flat_map(|(place, measured)| rows(place, measured)).collect();
        for column in LISTS {
            rows = folded(rows, column);
        }
        rows.sort();
        let mut text = COLUMNS.join("\t") + "\n";
        for Row { cells, outcomes, effect } in rows {
            // Writing to a String can't fail.
            let _ = writeln!(text, "{}\t{}\t{effect}", cells.join("\t"), outcomes.render());
        }
        text
    }
}

/// The rows of one place, one for each effect.
fn rows(place: &Place, measured: &Measured) -> Vec<Row> {
    let row = |outcomes, effect: &str| Row { cells: place.cells(), outcomes, effect: effect.to_owned() };
    let Measured::Effects(effects) = measured else {
        return vec![row(Outcomes::default(), NOT_MADE)];
    };
    let mut by_effect: BTreeMap<&str, Outcomes> = BTreeMap::new();
    for (answer, effect) in effects {
        by_effect.entry(effect).or_default().0.push(*answer);
    }
    by_effect.into_iter().map(|(effect, outcomes)| row(outcomes, effect)).collect()
}

/// Each combination of the values that the cells list.
fn expanded(cells: [String; 8]) -> Vec<[String; 8]> {
    let mut all = vec![cells];
    for column in LISTS {
        let each = |cells: [String; 8]| {
            let values: Vec<String> = cells[column].split(',').map(str::to_owned).collect();
            values.into_iter().map(move |value| {
                let mut cells = cells.clone();
                cells[column] = value;
                cells
            })
        };
        all = all.into_iter().flat_map(each).collect();
    }
    all
}

/// One row for those that differ in a column alone.
fn folded(rows: Vec<Row>, column: usize) -> Vec<Row> {
    let mut groups: BTreeMap<Row, Vec<String>> = BTreeMap::new();
    for mut row in rows {
        let value = std::mem::take(&mut row.cells[column]);
        groups.entry(row).or_default().push(value);
    }
    let joined = |(mut row, values): (Row, Vec<String>)| {
        row.cells[column] = values.join(",");
        row
    };
    groups.into_iter().map(joined).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(version: &str, way: &str) -> Place {
        Place {
            runtime: "runc".to_owned(),
            version: version.to_owned(),
            no_new_privs: false,
            way: way.to_owned(),
            request: "user".to_owned(),
            given: "-".to_owned(),
            target: Target::with("prctl", &[(0, 24)]),
        }
    }

    fn table() -> Table {
        let mut table = Table::default();
        for version in ["1.2.8", "1.3.7"] {
            for way in ["start", "exec"] {
                for errno in 0..134 {
                    let effect = if [0, 22].contains(&errno) { "keeps bounding" } else { "fails" };
                    table.note(place(version, way), Answer::Errno(errno), effect.to_owned());
                }
                table.note(place(version, way), Answer::Trap, "fails".to_owned());
            }
        }
        let capget = |version| Place { target: Target::whole("capget"), ..place(version, "start") };
        table.note(capget("1.2.8"), Answer::Errno(1), "fails".to_owned());
        table.note_not_made(capget("1.3.7"));
        table
    }

    #[test]
    fn what_came_to_the_same_is_one_row() {
        assert_eq!(
            table().render().lines().skip(1).collect::<Vec<_>>(),
            [
                "runc\t1.2.8\tfalse\tstart\tuser\t-\tcapget\t-\tERRNO 1\tfails",
                "runc\t1.2.8,1.3.7\tfalse\texec,start\tuser\t-\tprctl\t0=24\tERRNO 0,22\tkeeps bounding",
                "runc\t1.2.8,1.3.7\tfalse\texec,start\tuser\t-\tprctl\t0=24\tERRNO 1-21,23-133 TRAP\tfails",
                "runc\t1.3.7\tfalse\tstart\tuser\t-\tcapget\t-\t-\tnot made",
            ]
        );
    }

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let table = table();
        assert_eq!(Table::parse(&table.render()).unwrap(), table);
        assert!(Table::parse("a\tb\n").is_err());
        assert!(Table::parse(&(table.render() + "runc\t1\n")).is_err());
    }

    #[test]
    fn a_version_that_is_measured_anew_is_replaced() {
        let mut table = table();
        let mut fresh = Table::default();
        fresh.note(place("1.3.7", "start"), Answer::Errno(0), "fails".to_owned());
        let mut partly = table.clone();
        partly.replace(fresh.clone(), &["prctl".to_owned()]);
        assert_eq!(partly.iter().filter(|(place, _)| place.version == "1.3.7").count(), 2);
        table.replace(fresh, &[]);
        assert_eq!(table.iter().filter(|(place, _)| place.version == "1.3.7").count(), 1);
        assert_eq!(table.iter().filter(|(place, _)| place.version == "1.2.8").count(), 3);
    }
}
