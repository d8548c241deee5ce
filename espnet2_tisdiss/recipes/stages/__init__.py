"""The programs that the stages of local/enh.sh run."""
