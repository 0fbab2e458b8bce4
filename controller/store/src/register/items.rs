//! One item: made, changed, retired. Nothing is ever deleted but by undoing the import that made it.

use xiezhi_model::register::RETIRED;
use xiezhi_model::{
    AuditEntry, Field, FieldChange, Item, RegisterKind, Scope, SiteId, Values, differences,
};

use super::RegisterError;
use super::rows::{
    NewChange, Source, Value, by_codes, insert_changes, insert_items, storable, update_item,
};
use crate::row::{self, Write};
use crate::sites::must_be_in_use;
use crate::{Store, StoreError, audit, reach};

impl Store {
    /// One item of a scope.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn register_item(
        &self,
        kind: RegisterKind,
        id: i64,
        scope: &Scope,
    ) -> Result<Option<Item>, StoreError> {
        let within = reach::sites("site_id", scope);
        let condition = format!("kind = $1 AND id = $2{within}");
        let values = vec![Value::Number(kind.number()), Value::Number(id)];
        let mut source = Source::Reading(&self.database);
        Ok(source.items(&condition, values).await?.pop())
    }

    /// Writes down a new item with values that [`RegisterKind::check`] gave.
    ///
    /// # Errors
    /// [`RegisterError::Taken`] if the site has its code; [`RegisterError::Unknown`] if it names a room
    /// or an owner that is not there.
    pub async fn create_item(
        &self,
        kind: RegisterKind,
        site: SiteId,
        values: &Values,
        audit: AuditEntry,
    ) -> Result<Item, RegisterError> {
        let mut write = self.database.write().await?;
        let item = Item {
            id: row::count_up(&mut write, "register_items", 1).await?,
            kind,
            site,
            values: storable(values),
            created_ms: audit.time_ms,
            changed_ms: audit.time_ms,
            version: row::count_up(&mut write, "register_changes", 1).await?,
        };
        must_have_place(&mut write, &item, None).await?;
        must_be_free(&mut write, &item).await?;
        must_name_known(&mut write, &item, None).await?;
        insert_items(&mut write, std::slice::from_ref(&item)).await?;
        let changes = differences(&Values::new(), &item.values);
        keep(&mut write, &item, "create", changes, audit).await?;
        write.commit().await?;
        Ok(item)
    }

    /// Gives an item new values, all of them, and perhaps another site. `seen` is the version that was
    /// read. What changes nothing is not written down.
    ///
    /// # Errors
    /// [`RegisterError::Stale`] if it has another version by now; [`RegisterError::StillNamed`] if a room
    /// or a member of staff that others name is to go.
    pub async fn change_item(
        &self,
        seen: &Item,
        site: SiteId,
        values: &Values,
        audit: AuditEntry,
    ) -> Result<Item, RegisterError> {
        let mut write = self.database.write().await?;
        let mut source = Source::Writing(&mut write);
        let found = source
            .items("id = $1", vec![Value::Number(seen.id)])
            .await?;
        let missing = || StoreError::NotFound(seen.kind.noun().to_owned());
        let before = found.into_iter().next().ok_or_else(missing)?;
        if before.version != seen.version {
            return Err(RegisterError::Stale);
        }
        let mut after = Item {
            site,
            values: storable(values),
            ..before.clone()
        };
        let mut changes = differences(&before.values, &after.values);
        if before.site != site {
            changes.insert(0, moved(before.site, site));
        }
        if changes.is_empty() {
            return Ok(before);
        }
        if changes
            .iter()
            .any(|change| change.field == Some(Field::Code))
        {
            return Err(RegisterError::CodeStays);
        }
        if before.site != site {
            must_be_free(&mut write, &after).await?;
        }
        must_have_place(&mut write, &after, Some(&before)).await?;
        must_name_known(&mut write, &after, Some(&before)).await?;
        if let Some(count) = keeps_others(&mut Source::Writing(&mut write), &before, &after).await?
        {
            return Err(RegisterError::StillNamed { count });
        }
        after.changed_ms = audit.time_ms;
        after.version = row::count_up(&mut write, "register_changes", 1).await?;
        update_item(&mut write, &after).await?;
        keep(&mut write, &after, "change", changes, audit).await?;
        write.commit().await?;
        Ok(after)
    }
}

fn moved(before: SiteId, after: SiteId) -> FieldChange {
    FieldChange {
        field: None,
        before: before.to_string(),
        after: after.to_string(),
    }
}

async fn keep(
    write: &mut Write,
    item: &Item,
    action: &'static str,
    changes: Vec<FieldChange>,
    audit: AuditEntry,
) -> Result<(), StoreError> {
    let named = |change: &FieldChange| change.field.map_or("site", Field::word);
    let fields: Vec<&str> = changes.iter().map(named).collect();
    let audit = audit
        .with("item", item.id.to_string())
        .with("site", item.site.to_string())
        .with("code", item.value(Field::Code))
        .with("fields", fields.join(","));
    let change = NewChange {
        id: item.version,
        item: item.id,
        import: None,
        action,
        changes,
    };
    insert_changes(write, &[change], &audit).await?;
    audit::append(write, &audit).await?;
    Ok(())
}

async fn must_be_free(write: &mut Write, item: &Item) -> Result<(), RegisterError> {
    let code = item.value(Field::Code);
    let mut source = Source::Writing(write);
    let found = by_codes(&mut source, item.kind, [(item.site, code)]).await?;
    match found.is_empty() {
        true => Ok(()),
        false => Err(RegisterError::Taken {
            kind: item.kind,
            code: code.to_owned(),
        }),
    }
}

/// What comes into use, or moves, needs a site in use.
async fn must_have_place(
    write: &mut Write,
    after: &Item,
    before: Option<&Item>,
) -> Result<(), StoreError> {
    let was_there = before.is_some_and(|before| before.is_in_use() && before.site == after.site);
    match after.is_in_use() && !was_there {
        true => must_be_in_use(write, after.site).await,
        false => Ok(()),
    }
}

/// The fields whose codes have to be looked up: an old name is not asked again, nor one of an item at the
/// end of its life.
pub(super) fn to_look_up(after: &Item, before: Option<&Item>) -> Vec<(Field, RegisterKind)> {
    let of = [
        (Field::Room, RegisterKind::Room),
        (Field::Owner, RegisterKind::Staff),
    ];
    let was_known = |field: Field| {
        before.is_some_and(|before| {
            before.is_in_use()
                && before.site == after.site
                && before.value(field) == after.value(field)
        })
    };
    let asked =
        |(field, _): &(Field, RegisterKind)| !after.value(*field).is_empty() && !was_known(*field);
    match after.value(Field::State) {
        RETIRED => Vec::new(),
        _ => of.into_iter().filter(asked).collect(),
    }
}

async fn must_name_known(
    write: &mut Write,
    after: &Item,
    before: Option<&Item>,
) -> Result<(), RegisterError> {
    for (field, kind) in to_look_up(after, before) {
        let code = after.value(field);
        let mut source = Source::Writing(write);
        let found = by_codes(&mut source, kind, [(after.site, code)]).await?;
        if !found.values().any(Item::is_in_use) {
            let code = code.to_owned();
            return Err(RegisterError::Unknown { field, code });
        }
    }
    Ok(())
}

/// Whether an item is about to be retired or to move away.
pub(super) fn goes(before: &Item, after: &Item) -> bool {
    let retires = before.is_in_use() && !after.is_in_use();
    retires || before.site != after.site
}

/// How many others name an item that is about to go, if any do.
async fn keeps_others(
    source: &mut Source<'_>,
    before: &Item,
    after: &Item,
) -> Result<Option<i64>, StoreError> {
    if !goes(before, after) {
        return Ok(None);
    }
    let count = source.count_namers(before).await?;
    Ok((count > 0).then_some(count))
}
