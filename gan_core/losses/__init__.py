"""Loss terms: pure functions of scores, high score = real unless a file says otherwise."""
