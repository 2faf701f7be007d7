"""Where tensors live and what runs where: operators in, tasks with streams and work out."""
