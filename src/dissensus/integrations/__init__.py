"""The recorder inside other people's training loops."""
