"""What a study's records say: functions from plain rows to plain rows. No framework."""
