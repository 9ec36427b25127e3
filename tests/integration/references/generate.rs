//! References to try, from a seed: right ones that use all of the grammar, ones with a single flaw,
//! ones at the limits of length, mutations of these, and noise.

use crate::random::Random;

/// What mutations and noise are made of: all that means something to the grammar, and what looks
/// as if it did.
const ALPHABET: [&str; 32] = [
    "a", "z", "0", "9", "f", "A", "Z", "F", ".", ".", "_", "_", "-", "-", "/", "/", ":", ":", "@",
    "[", "]", "+", " ", "\t", "\n", "\0", "%", "*", "é", "É", "\u{212a}", "漢",
];
const LOWER: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const WORD: &[u8] = b"abcXYZ0189_.-";
const SEPARATORS: [&str; 6] = [".", "_", "__", "-", "--", "----"];

/// Makes references of random numbers.
pub(crate) struct Generator(Random);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// Some text that is, or might be taken for, an image reference.
    pub(crate) fn reference(&mut self) -> String {
        match self.below(100) {
            0..=3 => self.identifier(),
            4..=15 => self.long(),
            16..=54 => self.valid(),
            55..=74 => self.flawed(),
            75..=96 => self.mutated(),
            _ => self.noise(),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.0.below(end)
    }

    fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn text(&mut self, from: &[u8], len: usize) -> String {
        let byte = |_| char::from(from[self.below(from.len())]);
        (0..len).map(byte).collect()
    }

    fn word(&mut self, longest: usize) -> String {
        let len = self.between(1, longest);
        self.text(LOWER, len)
    }

    fn hex(&mut self, len: usize) -> String {
        self.text(HEX, len)
    }

    fn valid(&mut self) -> String {
        [self.registry(), self.path(), self.tag(), self.digest()].concat()
    }

    /// A registry with its `/`, or nothing.
    fn registry(&mut self) -> String {
        let (one, two) = (self.word(8), self.word(4));
        let port = self.between(0, 65_535);
        let kind = self.below(16);
        let host = match kind {
            0..=3 => return String::new(),
            4 => "docker.io".to_owned(),
            5 => "index.docker.io".to_owned(),
            6 => "localhost".to_owned(),
            7 => format!("localhost:{port}"),
            8 => format!("{one}.{two}"),
            9 => format!("{one}--{two}.{one}.{two}"),
            10 => format!("{one}:{port}"),
            11 => format!("{one}.{two}:{port}"),
            12 => match self.below(2) {
                0 => format!("10.{}.0.{}", self.below(300), self.below(300)),
                _ => format!("127.0.0.1:{port}"),
            },
            13 => match self.below(2) {
                0 => format!("[{}::{}]", self.hex(4), self.hex(2)),
                _ => format!("[{}::{}]:{port}", self.hex(3), self.hex(1).to_uppercase()),
            },
            14 => match self.below(3) {
                0 => one.to_uppercase() + "X",
                1 => format!("{one}X"),
                _ => format!("X{one}.{two}:{port}"),
            },
            _ => format!("{one}{}{two}.{two}", self.pick(&["_", "__"])),
        };
        host + "/"
    }

    fn path(&mut self) -> String {
        let mut path = self.component();
        if self.below(12) == 0 {
            path = format!("library/{path}");
        }
        for _ in 0..self.pick(&[0, 0, 1, 2, 3]) {
            path = format!("{path}/{}", self.component());
        }
        path
    }

    fn component(&mut self) -> String {
        let mut component = self.word(9);
        for _ in 0..self.pick(&[0, 0, 1, 2]) {
            component += self.pick(&SEPARATORS);
            component += &self.word(5);
        }
        component
    }

    /// A tag with its `:`, or nothing.
    fn tag(&mut self) -> String {
        if self.below(2) == 0 {
            return String::new();
        }
        let len = self.below(12);
        format!(":{}{}", self.text(&WORD[..11], 1), self.text(WORD, len))
    }

    /// A digest with its `@`, or nothing.
    fn digest(&mut self) -> String {
        match self.below(9) {
            0 => format!("@sha256:{}", self.hex(64)),
            1 => format!("@sha384:{}", self.hex(96)),
            2 => format!("@sha512:{}", self.hex(128)),
            _ => String::new(),
        }
    }

    /// A reference with one part that is wrong, or nearly.
    fn flawed(&mut self) -> String {
        let [mut registry, mut path, mut tag, mut digest] =
            [self.registry(), self.path(), self.tag(), self.digest()];
        match self.below(5) {
            0 => registry = self.flawed_registry() + "/",
            1 => {
                let (one, two) = (self.component(), self.component());
                path =
                    one + self.pick(&["___", "..", "._", "_.", "-_", ".-", "//", "/", "+"]) + &two;
            }
            2 => path = self.pick(&["A", "_", "-", ".", "", "é", "a:"]).to_owned() + &path,
            3 => {
                let first = self.pick(&["", ".", "-", "+", "é", "A"]);
                tag = format!(":{first}{}", self.text(WORD, 2));
            }
            _ => digest = "@".to_owned() + &self.flawed_digest(),
        }
        [registry, path, tag, digest].concat()
    }

    fn flawed_registry(&mut self) -> String {
        let (one, two) = (self.word(8), self.word(4));
        match self.below(9) {
            0 => format!("{one}..{two}"),
            1 => format!("{one}.{two}:"),
            2 => format!("{one}:{two}"),
            3 => format!("-{one}.{two}"),
            4 => format!("{one}-.{two}"),
            5 => format!("[{one}:{two}]:80"),
            6 => format!("[::{}", self.hex(2)),
            7 => format!("{one}_{two}.{one}:80"),
            _ => format!("https://{one}.{two}"),
        }
    }

    fn flawed_digest(&mut self) -> String {
        let len = self.pick(&[32, 63, 64, 65, 96, 97, 127, 128]);
        let algorithms = [
            "sha256",
            "sha384",
            "sha512",
            "md5",
            "sha1",
            "sha256+b64",
            "SHA256",
            "",
        ];
        let algorithm = self.pick(&algorithms);
        let digits = match self.below(4) {
            0 => self.hex(len).to_uppercase(),
            1 => self.text(LOWER, len),
            _ => self.hex(len),
        };
        format!("{algorithm}:{digits}")
    }

    /// A reference at the limit of a repository's or of a tag's length, or near it.
    fn long(&mut self) -> String {
        let registry = self.registry();
        if self.below(3) == 0 {
            let len = self.pick(&[126, 127, 127, 127, 128, 129]);
            let tag = self.text(&WORD[..10], 1) + &self.text(WORD, len);
            return format!("{registry}{}:{tag}{}", self.path(), self.digest());
        }
        let mut start = self.path();
        if self.below(2) == 0 {
            start = "library/".to_owned() + &start;
        }
        // Where `library/` is added, the limit for the rest is 8 bytes less.
        let limit: usize = if start.contains('/') {
            255
        } else {
            self.pick(&[247, 255])
        };
        let len = self.pick(&[limit - 1, limit, limit, limit, limit + 1, limit + 2]);
        let filler = len.saturating_sub(start.len());
        let path = start + &self.text(LOWER, filler);
        [registry, path, self.tag(), self.digest()].concat()
    }

    /// The identifier of an image, or something like it.
    fn identifier(&mut self) -> String {
        match self.below(8) {
            0 => self.hex(63),
            1 => self.hex(65),
            2 => self.hex(63) + "g",
            3 => self.hex(64) + &self.tag(),
            _ => self.hex(64),
        }
    }

    fn mutated(&mut self) -> String {
        let text = match self.below(8) {
            0 => self.long(),
            1 => self.identifier(),
            _ => self.valid(),
        };
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..self.between(1, 3) {
            self.mutate(&mut chars);
        }
        chars.into_iter().collect()
    }

    fn mutate(&mut self, chars: &mut Vec<char>) {
        if chars.is_empty() {
            return;
        }
        let (at, other) = (self.below(chars.len()), self.below(chars.len()));
        let new = self.pick(&ALPHABET).chars().next().unwrap();
        match self.below(5) {
            0 => chars.insert(at, new),
            1 => drop(chars.remove(at)),
            2 => chars[at] = new,
            3 => chars.swap(at, other),
            _ => {
                let (first, last) = (at.min(other), at.max(other));
                let copy = chars[first..=last.min(first + 20)].to_vec();
                chars.splice(last..last, copy);
            }
        }
    }

    fn noise(&mut self) -> String {
        (0..self.below(24)).map(|_| self.pick(&ALPHABET)).collect()
    }
}
