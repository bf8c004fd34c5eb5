"""One run: model, optimizer, data order, stopping, evaluation."""
