//! Where labels of chart points go so that none covers another label, a point or the frame.

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    /// A square of half-width `reach` round a point.
    pub(super) fn around((x, y): (f64, f64), reach: f64) -> Self {
        Self { left: x - reach, top: y - reach, width: 2.0 * reach, height: 2.0 * reach }
    }

    fn overlaps(&self, other: &Rect) -> bool {
        let apart = self.left + self.width <= other.left
            || other.left + other.width <= self.left
            || self.top + self.height <= other.top
            || other.top + other.height <= self.top;
        !apart
    }

    fn inside(&self, frame: &Rect) -> bool {
        self.left >= frame.left
            && self.top >= frame.top
            && self.left + self.width <= frame.left + frame.width
            && self.top + self.height <= frame.top + frame.height
    }
}

/// Height of a label; CSS sets the fonts of charts to at most this.
const HEIGHT: f64 = 12.0;

/// Width of a text in such a font: a wide sans-serif takes about this share of its size per character.
fn width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.4 + 2.0
}

/// Places labels of points, first come first served. `None`: no room; the reader has the tooltip and the table.
pub(super) fn place(points: &[((f64, f64), &str)], frame: &Rect, mut taken: Vec<Rect>) -> Vec<Option<Rect>> {
    taken.extend(points.iter().map(|(point, _)| Rect::around(*point, 6.0)));
    points
        .iter()
        .map(|((x, y), text)| {
            let width = width(text);
            let (right, left, middle) = (x + 9.0, x - 9.0 - width, x - width / 2.0);
            let (level, above, below) = (y - HEIGHT / 2.0, y - 8.0 - HEIGHT, y + 8.0);
            let spots = [
                (right, level),
                (left, level),
                (middle, above),
                (middle, below),
                (right - 3.0, above + 3.0),
                (right - 3.0, below - 3.0),
                (left + 3.0, above + 3.0),
                (left + 3.0, below - 3.0),
            ];
            let free = spots
                .into_iter()
                .map(|(left, top)| Rect { left, top, width, height: HEIGHT })
                .find(|spot| spot.inside(frame) && !taken.iter().any(|other| other.overlaps(spot)))?;
            taken.push(free);
            Some(free)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_cover_nothing(points in prop::collection::vec((0.0f64..400.0, 0.0f64..300.0, "[a-z]{1,18}"), 0..25)) {
            let frame = Rect { left: 0.0, top: 0.0, width: 400.0, height: 300.0 };
            let named: Vec<_> = points.iter().map(|(x, y, text)| ((*x, *y), text.as_str())).collect();
            let placed: Vec<Rect> = place(&named, &frame, Vec::new()).into_iter().flatten().collect();
            for (index, label) in placed.iter().enumerate() {
                prop_assert!(label.inside(&frame));
                prop_assert!(placed[..index].iter().all(|other| !other.overlaps(label)));
                prop_assert!(points.iter().all(|(x, y, _)| !Rect::around((*x, *y), 6.0).overlaps(label)));
            }
        }
    }

    #[test]
    fn a_lone_point_is_labelled_at_its_right() {
        let frame = Rect { left: 0.0, top: 0.0, width: 400.0, height: 300.0 };
        let label = place(&[((100.0, 100.0), "gpt")], &frame, Vec::new())[0].unwrap();
        assert!(label.left > 100.0 && label.top < 100.0 && label.top + label.height > 100.0);
    }
}
