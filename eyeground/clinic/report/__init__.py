"""What a report says: one text out of facts, in the languages of the shelf lang/."""
