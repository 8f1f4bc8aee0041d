"""The family of BERT's encoders: names, creation, weights as Hugging Face's folders hold them, hidden states."""
