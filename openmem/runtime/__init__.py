"""How calls run: from sync to async and back, what is known of the call under way, repeating, batches, forks, ids."""
