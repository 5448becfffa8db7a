"""What several tests share: twins of servers, adapters and clocks that a test moves, stores, processes beside."""
