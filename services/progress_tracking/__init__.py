"""The progress tracking service: what each learner has done in each course."""
