"""What has to run: experiments, plans, the store. Never imports torch."""
