//! Applies a unified diff, exactly: every line of context and every removed line must stand where the diff says.

/// Gives back the changed text. Lines before the first `---` are the reasons and are skipped.
pub(crate) fn apply(text: &str, patch: &str) -> Result<String, String> {
    let old: Vec<&str> = text.lines().collect();
    let mut new: Vec<&str> = Vec::with_capacity(old.len() + 64);
    let mut next = 0;
    let mut lines = patch.lines().skip_while(|line| !line.starts_with("--- ")).skip(2).peekable();
    if lines.peek().is_none() {
        return Err("it has no hunk".into());
    }
    while let Some(head) = lines.next() {
        let (start, mut removed, mut added) = hunk(head).ok_or_else(|| format!("`{head}` is not the head of a hunk"))?;
        let untouched = old.get(next..start).ok_or_else(|| format!("the hunk `{head}` lies outside of the file"))?;
        new.extend(untouched);
        next = start;
        while removed > 0 || added > 0 {
            let line = lines.next().ok_or_else(|| format!("the hunk `{head}` is cut short"))?;
            let (kind, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
            if kind == "+" {
                added -= 1;
                new.push(rest);
                continue;
            }
            let found = old.get(next).ok_or_else(|| format!("the hunk `{head}` goes beyond the end of the file"))?;
            if *found != rest {
                return Err(format!("line {} is `{found}`, not `{rest}`", next + 1));
            }
            next += 1;
            removed -= 1;
            if kind == " " {
                added -= 1;
                new.push(rest);
            }
        }
    }
    new.extend(&old[next..]);
    Ok(new.join("\n") + "\n")
}

/// `@@ -12,3 +12,5 @@`: the index of the first line, how many lines it takes from the old text, how many it gives to the new.
fn hunk(head: &str) -> Option<(usize, usize, usize)> {
    let mut ranges = head.strip_prefix("@@ -")?.split(" @@").next()?.split(" +");
    let (from, removed) = range(ranges.next()?)?;
    let (_, added) = range(ranges.next()?)?;
    // A hunk that takes nothing names the line before it.
    Some((if removed == 0 { from } else { from.checked_sub(1)? }, removed, added))
}

fn range(text: &str) -> Option<(usize, usize)> {
    let (start, count) = text.split_once(',').unwrap_or((text, "1"));
    Some((start.parse().ok()?, count.parse().ok()?))
}
