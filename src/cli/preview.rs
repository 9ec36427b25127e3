//! `preview`: the server's own decisions about the images of objects, before it is installed.
//!
//! Objects are read, decided about and printed one at a time (`split`), so that a whole cluster takes
//! no more memory than its largest object.

mod object;
mod split;
mod table;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use crate::mutate::{Decided, Mutator};
use crate::review::{Review, Subject};
use crate::rules::Rules;

use super::output::{Line, Out, to_stdout};
use object::Object;
use split::split;
use table::Table;

/// What ends a preview early.
#[derive(Debug)]
enum Failure {
    /// What is wrong with the input, and where.
    Input(String),
    /// What writing says.
    Output(io::Error),
}

/// A preview, and what it has come to.
struct Preview<'o> {
    mutator: &'o Mutator,
    json: bool,
    out: &'o mut Out,
    table: Table,
    /// The kind of a list's items, which do not all say it.
    item_kind: String,
    /// How many objects there were before this file.
    before: usize,
    /// How many images there are of each registry, outcome and reason.
    images: BTreeMap<[String; 3], usize>,
    swaps: usize,
    objects: usize,
    /// Of these, how many hold no Pod.
    others: usize,
}

/// Prints what becomes of each image of the objects in `files`, or on standard input if there are
/// none, and then the totals. Returns whether any is swapped, if that is known: it is no error that
/// nobody reads on.
///
/// # Errors
/// What is wrong with the input, where all before that is printed; or what writing says.
pub fn run(rules: Rules, json: bool, files: &[OsString]) -> io::Result<Option<bool>> {
    let mutator = Mutator::new(rules);
    let (mut swaps, mut complete) = (0, false);
    to_stdout(|out| {
        let mut preview = Preview {
            mutator: &mutator,
            json,
            out,
            table: Table::default(),
            item_kind: String::new(),
            before: 0,
            images: BTreeMap::new(),
            swaps: 0,
            objects: 0,
            others: 0,
        };
        let result = preview.print(files);
        swaps = preview.swaps;
        complete = result.is_ok();
        result.map_err(|failure| match failure {
            Failure::Input(problem) => io::Error::other(problem),
            Failure::Output(error) => error,
        })
    })?;
    Ok((complete || swaps > 0).then_some(swaps > 0))
}

impl Preview<'_> {
    fn print(&mut self, files: &[OsString]) -> Result<(), Failure> {
        if !self.json {
            let header = [
                "NAMESPACE",
                "OBJECT",
                "FIELD",
                "IMAGE",
                "OUTCOME",
                "WHY",
                "BECOMES",
            ];
            self.table.row(&header, self.out)?;
        }
        let stdin = [OsString::from("-")];
        let mut files = if files.is_empty() { &stdin } else { files }.iter();
        let result = files.try_for_each(|file| self.file(file));
        self.table.flush(self.out)?;
        result?;
        if !self.json {
            self.totals()?;
        }
        Ok(())
    }

    fn file(&mut self, file: &OsStr) -> Result<(), Failure> {
        let (name, input): (_, io::Result<Box<dyn Read>>) = if file == "-" {
            ("standard input".into(), Ok(Box::new(io::stdin().lock())))
        } else {
            let opened = File::open(file);
            (
                file.to_string_lossy(),
                opened.map(|file| Box::new(file) as _),
            )
        };
        let input = input.map_err(|error| Failure::Input(error.to_string()));
        self.item_kind.clear();
        self.before = self.objects;
        let mut each = |text: &[u8], line| self.object(text, line);
        let read = input.and_then(|input| split(BufReader::new(input), &mut each));
        read.map_err(|failure| match failure {
            Failure::Input(problem) => Failure::Input(format!("{name}: {problem}")),
            Failure::Output(error) => Failure::Output(error),
        })
    }

    /// An object, which begins on that line of its file.
    fn object(&mut self, text: &[u8], line: usize) -> Result<(), Failure> {
        let object = Object::read(text).map_err(|problem| {
            let number = self.objects - self.before + 1;
            Failure::Input(format!("object {number}, from line {line}: {problem}"))
        })?;
        if let Object::List(kind) = object {
            self.item_kind = kind.strip_suffix("List").unwrap_or_default().to_owned();
            return Ok(());
        }
        self.objects += 1;
        let Object::Pod {
            kind,
            place,
            mut review,
        } = object
        else {
            self.others += 1;
            return Ok(());
        };
        let kind = match &*kind {
            "" => self.item_kind.clone(),
            kind => kind.to_owned(),
        };
        self.review(&kind, place, &review)?;
        if review.subject == Subject::Create {
            // Those that a Pod has came with a request of their own.
            review.subject = Subject::EphemeralContainers;
            self.review(&kind, place, &review)?;
        }
        Ok(())
    }

    fn review(&mut self, kind: &str, place: &str, review: &Review<'_>) -> Result<(), Failure> {
        let mutator = self.mutator;
        for Decided { image, decision } in mutator.decide(review) {
            let line = Line {
                namespace: &review.namespace,
                kind,
                name: &review.name,
                field: &[place, &image.field()].concat(),
                ..Line::new(image.reference, &decision, &mutator.rules)
            };
            self.image(&line)?;
        }
        Ok(())
    }

    fn image(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.swaps += usize::from(line.target.is_some());
        if self.json {
            return line.write_json(self.out);
        }
        let why = line.rule.or(line.reason).unwrap_or_default();
        let total = [line.registry, line.decision, why].map(str::to_owned);
        *self.images.entry(total).or_default() += 1;
        let object = [line.kind, "/", line.name].concat();
        let cells = [
            line.namespace,
            object.trim_start_matches('/'),
            line.field,
            line.image,
            line.decision,
            why,
            line.target.unwrap_or_default(),
        ];
        self.table.row(&cells, self.out)
    }

    fn totals(&mut self) -> io::Result<()> {
        let mut table = Table::default();
        writeln!(self.out)?;
        table.row(&["IMAGES", "REGISTRY", "OUTCOME", "WHY"], self.out)?;
        let mut images = 0;
        for ([registry, decision, why], count) in &self.images {
            images += count;
            table.row(&[&count.to_string(), registry, decision, why], self.out)?;
        }
        table.flush(self.out)?;
        let (swaps, others, objects) = (self.swaps, self.others, self.objects);
        writeln!(
            self.out,
            "\nwould be swapped: {swaps} of {images} images; without a Pod, and passed over: {others} of {objects} objects"
        )
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
