"""The authorization server: RFC 6749, 7009 and 7636 as Procore carries them out."""
